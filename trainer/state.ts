// What training changes, on the device, by name: weights, BatchNorm's running statistics, optimizer slots, an average.

import type { Backend } from './backend/backend.ts';
import { type NamedTensors, named, type Tensor } from './backend/kernels.ts';
import { initialValues } from './model/initial.ts';
import type { Model } from './model/model.ts';

/** What a model computes with, on the device, by name. */
export interface Values {
  readonly weights: NamedTensors;
  readonly statistics: NamedTensors;
}

/** Tensors belong to the state until they are replaced or `disposeState` is called. */
export interface TrainState extends Values {
  /** Steps done: the number of the next step. */
  step: number;
  /** The momentum buffer of each parameter. */
  readonly slots: NamedTensors;
  /** The exponential moving average of weights and statistics; null where the recipe has none. */
  readonly average: Values | null;
}

/** The same in this process's memory, values in the memory layout (HWIO, [in, out]). */
export interface HostState extends HostValues {
  readonly step: number;
  readonly slots: Readonly<Record<string, Float32Array>>;
  readonly average: HostValues | null;
}

export interface HostValues {
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly statistics: Readonly<Record<string, Float32Array>>;
}

/**
 * A new state; its weights depend only on the seed and the parameters' names. With `average` it has one, which starts as
 * a copy of the weights and statistics.
 */
export function createState(
  backend: Backend,
  model: Model,
  seed: number,
  { average = false }: { readonly average?: boolean } = {},
): TrainState {
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
  const start = { weights, statistics };
  return uploadState(backend, model, { step: 0, ...start, slots, average: average ? start : null });
}

type Named = Readonly<Record<string, Float32Array>>;

function uploader({ tf }: Backend): (values: Named, name: string, shape: readonly number[]) => Tensor {
  return (values, name, shape) => {
    const found = values[name];
    if (!found) throw new Error(`no values for '${name}'`);
    return tf.keep(tf.tensor(found, [...shape], 'float32'));
  };
}

function uploadParameters(backend: Backend, model: Model, values: Named): NamedTensors {
  const upload = uploader(backend);
  return Object.fromEntries(model.parameters.map(({ name, shape }) => [name, upload(values, name, shape)]));
}

/** Weights and statistics on the device; whoever calls disposes of them. */
export function uploadValues(backend: Backend, model: Model, { weights, statistics }: HostValues): Values {
  const upload = uploader(backend);
  return {
    weights: uploadParameters(backend, model, weights),
    statistics: Object.fromEntries(
      model.statistics.map(({ name, channels }) => [name, upload(statistics, name, [channels])]),
    ),
  };
}

export function uploadState(backend: Backend, model: Model, host: HostState): TrainState {
  return {
    step: host.step,
    ...uploadValues(backend, model, host),
    slots: uploadParameters(backend, model, host.slots),
    average: host.average && uploadValues(backend, model, host.average),
  };
}

export async function downloadState(state: TrainState): Promise<HostState> {
  const download = async (tensors: NamedTensors): Promise<Record<string, Float32Array>> => {
    const out: Record<string, Float32Array> = {};
    for (const [name, tensor] of Object.entries(tensors)) out[name] = (await tensor.data()) as Float32Array;
    return out;
  };
  const values = async ({ weights, statistics }: Values): Promise<HostValues> => ({
    weights: await download(weights),
    statistics: await download(statistics),
  });
  return {
    step: state.step,
    ...(await values(state)),
    slots: await download(state.slots),
    average: state.average && (await values(state.average)),
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
  if (state.average) tf.dispose([state.average.weights, state.average.statistics]);
}
