// A parity case: weights, images and targets by its formulas, and how far our figures lie from PyTorch's in float64.

import { fnv1a } from '#shards';
import type { SamRecipe } from '#stream';
import {
  type Backend,
  buildModel,
  disposeState,
  downloadState,
  type GroupBatch,
  type HostState,
  inferLogits,
  type Model,
  type StepOptions,
  trainStep,
  uploadState,
} from '#trainer';
import { type NamedTensors, named } from '../../trainer/backend/kernels.ts';
import { groupGradients, uploadBatch } from '../../trainer/gradients.ts';
import { perturb } from '../../trainer/methods/sam/sam.ts';
import { sizeOf } from '../../trainer/model/initial.ts';
import { fromTorch, toTorch } from '../../trainer/model/layout.ts';

export interface ParityFile {
  readonly case: {
    readonly layers: [number, number, number, number];
    readonly filter: number;
    readonly classes: number;
    readonly res: number;
    readonly batch: number;
    readonly steps: number;
    readonly rho: number;
    readonly adaptive: boolean;
    readonly interval: number;
    readonly lr: number;
    readonly momentum: number;
    readonly nesterov: boolean;
    readonly wd: number;
    readonly smoothing: number;
    readonly seed: number;
    readonly bn_second_pass: boolean;
  };
  readonly evalLogits: number[];
  readonly finalEvalLogits: number[];
  readonly firstLoss: number;
  readonly firstGradNorm: Record<string, number>;
  readonly samGradNorm: Record<string, number>;
  readonly loss: number[];
  readonly final: Record<string, { norm: number; sample: number[] }>;
  readonly tolerance: {
    readonly firstLoss: number;
    readonly firstGradNorm: number;
    readonly samGradNorm: number;
    readonly loss: number[];
    readonly 'final.norm': { readonly 'weights and biases': number; readonly 'running_mean, running_var': number };
  };
}

/** One figure beside PyTorch's: it passes when `error` ≤ `tolerance`. */
export interface Comparison {
  readonly what: string;
  readonly ours: number;
  readonly theirs: number;
  readonly error: number;
  readonly tolerance: number;
}

function hash32(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

type Uniform = (name: string) => (i: number) => number;

function uniformOf(seed: number): Uniform {
  return (name) => {
    const key = (fnv1a(name) ^ hash32(seed)) >>> 0;
    return (i) => hash32((i + key) >>> 0) / 4294967296;
  };
}

function initialState(model: Model, uniform: Uniform): HostState {
  const weights: Record<string, Float32Array> = {};
  const slots: Record<string, Float32Array> = {};
  for (const parameter of model.parameters) {
    const { name, kind, shape, torchShape } = parameter;
    const u = uniform(name);
    const fill = (value: (i: number) => number) => Float32Array.from({ length: sizeOf(shape) }, (_, i) => value(i));
    const spread = (std: number) => fill((i) => std * Math.sqrt(3) * (2 * u(i) - 1));
    const [output = 1, , height = 1, width = 1] = torchShape;
    const values = {
      conv: () => spread(Math.sqrt(2 / (output * height * width))),
      'fc-weight': () => spread(0.02),
      'fc-bias': () => fill(() => 0),
      'norm-weight': () => fill((i) => 0.5 + u(i)),
      'norm-bias': () => fill((i) => 0.2 * (u(i) - 0.5)),
    }[kind]();
    weights[name] = fromTorch(parameter, values);
    slots[name] = new Float32Array(values.length);
  }
  const statistics = Object.fromEntries(
    model.statistics.map(({ name, kind, channels }) => [
      name,
      new Float32Array(channels).fill(kind === 'variance' ? 1 : 0),
    ]),
  );
  return { step: 0, weights, statistics, slots, average: null };
}

function batchOf({ batch, res, classes }: ParityFile['case'], uniform: Uniform, step: number): GroupBatch {
  const pixel = uniform(`image.${step}`);
  const [a, b] = [uniform(`labelA.${step}`), uniform(`labelB.${step}`)];
  const share = Math.fround(0.5 + 0.5 * uniform(`lam.${step}`)(0));
  return {
    images: [Uint8Array.from({ length: batch * res * res * 3 }, (_, i) => Math.floor(256 * pixel(i)))],
    labelA: Int32Array.from({ length: batch }, (_, i) => Math.floor(classes * a(i))),
    labelB: Int32Array.from({ length: batch }, (_, i) => Math.floor(classes * b(i))),
    lam: new Float32Array(batch).fill(share),
    samples: batch,
    resolution: res,
  };
}

function norm(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] as number) ** 2;
  return Math.sqrt(sum);
}

/**
 * Runs the first `steps` steps of the case and returns every figure that the file holds for them, compared; the final
 * weights only after all steps.
 */
export async function runParityCase(backend: Backend, file: ParityFile, steps: number): Promise<Comparison[]> {
  const { tf } = backend;
  const config = file.case;
  const { classes, filter, layers, momentum, nesterov, rho, adaptive, interval } = config;
  const model = buildModel({ block: 'bottleneck', layers, width: 64, blurpool: filter, zeroInitGamma: false }, classes);
  const uniform = uniformOf(config.seed);
  const state = uploadState(backend, model, initialState(model, uniform));
  const found: Comparison[] = [];
  const relative = (what: string, ours: number, theirs: number, tolerance: number) =>
    found.push({ what, ours, theirs, error: Math.abs(ours - theirs) / Math.abs(theirs), tolerance });
  const first = batchOf(config, uniform, 0);
  const compareLogits = (what: string, theirs: number[], tolerance: number) => {
    const labels = first.labelA.subarray(0, theirs.length / classes);
    const images = (first.images[0] as Uint8Array).subarray(0, labels.length * config.res ** 2 * 3);
    const ours = inferLogits(backend, model, state, { images, labels, resolution: config.res });
    const largest = Math.max(...theirs.map(Math.abs));
    theirs.forEach((value, i) => {
      const mine = ours[i] as number;
      found.push({
        what: `${what}[${i}]`,
        ours: mine,
        theirs: value,
        error: Math.abs(mine - value) / largest,
        tolerance,
      });
    });
  };
  const compareNorms = (what: string, gradients: NamedTensors, theirs: Record<string, number>, tolerance: number) => {
    for (const [name, value] of Object.entries(theirs))
      relative(`${what} ${name}`, norm(named(gradients, name).dataSync()), value, tolerance);
  };

  compareLogits('evalLogits', file.evalLogits, 1e-4);
  // The file's samGradNorm is of the first step at which SAM fires.
  const secondPassOf = (step: number) => step === interval - 1;
  /** The gradients of a step's batch in training mode with the running statistics held. */
  const compareGradients = (step: number) =>
    tf.tidy(() => {
      const batch = uploadBatch(backend, batchOf(config, uniform, step), classes, config.smoothing);
      const at = (weights: NamedTensors) =>
        groupGradients(backend, model, batch, { weights, statistics: state.statistics }, model.parameters, 'train');
      const here = at(state.weights);
      if (step === 0) {
        relative('firstLoss', here.loss.dataSync()[0] as number, file.firstLoss, file.tolerance.firstLoss);
        compareNorms('firstGradNorm', here.gradients, file.firstGradNorm, file.tolerance.firstGradNorm);
      }
      if (!secondPassOf(step)) return;
      const { perturbed } = perturb(tf, state.weights, here.gradients, { rho, adaptive });
      compareNorms('samGradNorm', at(perturbed).gradients, file.samGradNorm, file.tolerance.samGradNorm);
    });
  const sam: SamRecipe = { rho, adaptive, interval, scope: 'global', bnSecondPass: config.bn_second_pass };
  const options: StepOptions = {
    learningRate: config.lr,
    optimizer: { momentum, nesterov, weightDecay: config.wd, decay: 'all' },
    sam,
    labelSmoothing: config.smoothing,
    fixres: false,
  };
  for (let step = 0; step < steps; step++) {
    if (step === 0 || secondPassOf(step)) compareGradients(step);
    const { loss } = trainStep(backend, model, state, [batchOf(config, uniform, step)], options);
    relative(`loss[${step}]`, loss, file.loss[step] as number, file.tolerance.loss[step] as number);
  }
  const end = await downloadState(state);
  // The file names no tolerance for these; after the same steps they may lie as far off as the last loss.
  if (steps === config.steps)
    compareLogits('finalEvalLogits', file.finalEvalLogits, file.tolerance.loss.at(-1) as number);
  disposeState(backend, state);
  if (steps < config.steps) return found;
  const tolerances = file.tolerance['final.norm'];
  for (const [name, theirs] of Object.entries(file.final)) {
    const parameter = model.parameters.find((one) => one.name === name);
    const values = parameter ? end.weights[name] : end.statistics[name];
    if (!values) throw new Error(`the case holds '${name}', the model does not`);
    const tolerance = parameter ? tolerances['weights and biases'] : tolerances['running_mean, running_var'];
    relative(`final ${name}`, norm(values), theirs.norm, tolerance);
    const torch = parameter ? toTorch(parameter, values) : values;
    const scale = theirs.norm / Math.sqrt(values.length);
    theirs.sample.forEach((value, i) => {
      const ours = torch[i] as number;
      // The file bounds norms only; a tenth of a typical value is enough to show a wrong layout.
      found.push({
        what: `final ${name}[${i}]`,
        ours,
        theirs: value,
        error: Math.abs(ours - value) / scale,
        tolerance: 0.1,
      });
    });
  }
  return found;
}
