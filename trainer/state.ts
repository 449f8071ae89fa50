// What training changes: step, weights, BatchNorm's running statistics, the optimizer's slots; on the device, by name.

import type { Backend } from './backend/backend.ts';
import { type NamedTensors, named } from './backend/kernels.ts';
import { initialValues } from './model/initial.ts';
import type { Model } from './model/model.ts';

/** Tensors belong to the state until they are replaced or `disposeState` is called. */
export interface TrainState {
  /** Steps done: the number of the next step. */
  step: number;
  readonly weights: NamedTensors;
  readonly statistics: NamedTensors;
  /** The momentum buffer of each parameter. */
  readonly slots: NamedTensors;
}

/** The same in this process's memory, values in the memory layout (HWIO, [in, out]). */
export interface HostState {
  readonly step: number;
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly statistics: Readonly<Record<string, Float32Array>>;
  readonly slots: Readonly<Record<string, Float32Array>>;
}

/** A new state; its weights depend only on the seed and the parameters' names. */
export function createState(backend: Backend, model: Model, seed: number): TrainState {
  const weights: Record<string, Float32Array> = {};
  const slots: Record<string, Float32Array> = {};
  const statistics: Record<string, Float32Array> = {};
  for (const parameter of model.parameters) {
    const values = initialValues(parameter, seed);
    weights[parameter.name] = values;
    slots[parameter.name] = new Float32Array(values.length);
  }
  for (const { name, kind, channels } of model.statistics)
    statistics[name] = new Float32Array(channels).fill(kind === 'variance' ? 1 : 0);
  return uploadState(backend, model, { step: 0, weights, statistics, slots });
}

export function uploadState({ tf }: Backend, model: Model, host: HostState): TrainState {
  const state: TrainState = { step: host.step, weights: {}, statistics: {}, slots: {} };
  const upload = (values: Float32Array | undefined, shape: readonly number[], name: string) => {
    if (!values) throw new Error(`no values for '${name}'`);
    return tf.keep(tf.tensor(values, [...shape], 'float32'));
  };
  for (const { name, shape } of model.parameters) {
    state.weights[name] = upload(host.weights[name], shape, name);
    state.slots[name] = upload(host.slots[name], shape, name);
  }
  for (const { name, channels } of model.statistics)
    state.statistics[name] = upload(host.statistics[name], [channels], name);
  return state;
}

export async function downloadState(state: TrainState): Promise<HostState> {
  const download = async (tensors: NamedTensors): Promise<Record<string, Float32Array>> => {
    const out: Record<string, Float32Array> = {};
    for (const [name, tensor] of Object.entries(tensors)) out[name] = (await tensor.data()) as Float32Array;
    return out;
  };
  const [weights, statistics, slots] = [state.weights, state.statistics, state.slots].map(download);
  return {
    step: state.step,
    weights: (await weights) ?? {},
    statistics: (await statistics) ?? {},
    slots: (await slots) ?? {},
  };
}

/** Zeroes the momentum: a FixRes phase starts with none. */
export function freshMomentum({ tf }: Backend, state: TrainState): void {
  for (const name of Object.keys(state.slots))
    replace({ tf }, state.slots, name, tf.zerosLike(named(state.slots, name)));
}

/** Puts a tensor in the place of another, which is freed; the new one outlives the scope it was made in. */
export function replace(
  { tf }: Pick<Backend, 'tf'>,
  tensors: NamedTensors,
  name: string,
  value: NamedTensors[string],
): void {
  const old = named(tensors, name);
  tensors[name] = tf.keep(value);
  old.dispose();
}

export function disposeState({ tf }: Backend, state: TrainState): void {
  tf.dispose([state.weights, state.statistics, state.slots]);
}
