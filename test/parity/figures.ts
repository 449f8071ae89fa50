// Runs a case on the trainer and sets each of the file's figures beside PyTorch's, in the order in which they come.

import { Fault } from '#shards';
import {
  type Backend,
  buildModel,
  disposeState,
  downloadState,
  groupGradients,
  inferLogits,
  type Model,
  type StepOptions,
  type TrainState,
  trainStep,
  uploadBatch,
  uploadState,
} from '#trainer';
import { type NamedTensors, named } from '../../trainer/backend/kernels.ts';
import { perturb } from '../../trainer/methods/sam/sam.ts';
import { toTorch } from '../../trainer/model/layout.ts';
import { type Bound, badCase, type CaseFile, type CaseOptions } from './case-file.ts';
import { compared, type Figure, type Pair } from './compare.ts';
import { batchOf, initialState } from './formulas.ts';

/** What a case runs on. The test of the mutants puts a mistake into the backend or one of these. */
export interface Trainer {
  readonly backend: Backend;
  readonly gradients: typeof groupGradients;
  readonly step: typeof trainStep;
}

export function trainerOn(backend: Backend): Trainer {
  return { backend, gradients: groupGradients, step: trainStep };
}

/**
 * Every figure of the file. The caller may stop early: the state is freed then, too.
 * @param options the file's own, unless a test runs others
 * @throws Fault `parity-case` where the file names a tensor that the model does not have
 */
export async function* figures(trainer: Trainer, file: CaseFile, options = file.case): AsyncGenerator<Figure> {
  const run = new Run(trainer, file, options);
  try {
    yield* run.logits('evalLogits');
    for (let step = 0; step < file.case.steps; step++) {
      yield* run.gradients(step);
      const losses = run.step(step);
      yield* losses;
      // Weights that are no numbers have no figures.
      if (losses.some(({ ours }) => !Number.isFinite(ours))) return;
    }
    yield* await run.final();
    yield* run.logits('finalEvalLogits');
  } finally {
    run.dispose();
  }
}

class Run {
  readonly #trainer: Trainer;
  readonly #file: CaseFile;
  readonly #options: CaseOptions;
  readonly #model: Model;
  readonly #state: TrainState;

  constructor(trainer: Trainer, file: CaseFile, options: CaseOptions) {
    const { layers, filter, classes } = options;
    const recipe = { block: 'bottleneck', layers, width: 64, blurpool: filter ?? false, zeroInitGamma: false } as const;
    this.#trainer = trainer;
    this.#file = file;
    this.#options = options;
    this.#model = buildModel(recipe, classes);
    checkNames(file, this.#model);
    this.#state = uploadState(trainer.backend, this.#model, initialState(this.#model, options));
  }

  dispose(): void {
    disposeState(this.#trainer.backend, this.#state);
  }

  /** Of the first images of step 0's batch, with the weights and running statistics of now. */
  logits(what: 'evalLogits' | 'finalEvalLogits'): Figure[] {
    const { classes, batch } = this.#options;
    const theirs = this.#file[what];
    const count = theirs.length / classes;
    if (count === 0) return [];
    const { images, labelA, resolution } = batchOf(this.#options, 0);
    const [all = new Uint8Array()] = images;
    const given = {
      images: all.subarray(0, (all.length / batch) * count),
      labels: labelA.subarray(0, count),
      resolution,
    };
    const ours = inferLogits(this.#trainer.backend, this.#model, this.#state, given);
    const pairs = theirs.map((value, i) => ({ what: `${what}[${i}]`, ours: ours[i] as number, theirs: value }));
    return compared(pairs, this.#file.tolerance[what]);
  }

  /** What a step does not show: its gradients at w, and at w + e where SAM fires first. Changes nothing. */
  gradients(step: number): Figure[] {
    const { case: theirs, firstLoss, tolerance } = this.#file;
    const fires = step === theirs.interval - 1;
    if (step > 0 && !fires) return [];
    const { backend, gradients } = this.#trainer;
    const { classes, smoothing } = this.#options;
    const found: Figure[] = [];
    backend.tf.tidy(() => {
      const batch = uploadBatch(backend, batchOf(this.#options, step), classes, smoothing);
      const { statistics, weights } = this.#state;
      const at = (values: NamedTensors) =>
        gradients(backend, this.#model, batch, { weights: values, statistics }, this.#model.parameters, 'train');
      const here = at(weights);
      if (step === 0) {
        const [ours = Number.NaN] = here.loss.dataSync();
        found.push(...compared([{ what: 'firstLoss', ours, theirs: firstLoss }], tolerance.firstLoss));
        found.push(...this.#norms('firstGradNorm', here.gradients));
      }
      if (fires) {
        const { perturbed } = perturb(backend.tf, weights, here.gradients, this.#options);
        found.push(...this.#norms('samGradNorm', at(perturbed).gradients));
      }
    });
    return found;
  }

  #norms(what: 'firstGradNorm' | 'samGradNorm', gradients: NamedTensors): Figure[] {
    const pairs = Object.entries(this.#file[what]).map(([name, theirs]) => {
      return { what: `${what} ${name}`, ours: norm(named(gradients, name).dataSync()), theirs };
    });
    return compared(pairs, this.#file.tolerance[what]);
  }

  /** Trains one step: its loss, NaN where the trainer refuses to go on. */
  step(step: number): Figure[] {
    const { rho, adaptive, interval, bn_second_pass, lr, momentum, nesterov, wd, smoothing } = this.#options;
    const options: StepOptions = {
      learningRate: lr,
      optimizer: { momentum, nesterov, weightDecay: wd, decay: 'all' },
      sam: { rho, adaptive, interval, scope: 'global', bnSecondPass: bn_second_pass },
      labelSmoothing: smoothing,
      fixres: false,
    };
    let ours = Number.NaN;
    try {
      const groups = [batchOf(this.#options, step)];
      ours = this.#trainer.step(this.#trainer.backend, this.#model, this.#state, groups, options).loss;
    } catch (error) {
      if (!(error instanceof Fault && /^(loss|gradient)-not-finite$/.test(error.code))) throw error;
    }
    const { loss, tolerance } = this.#file;
    const bound = Array.isArray(tolerance.loss) ? tolerance.loss[step] : tolerance.loss;
    return compared([{ what: `loss[${step}]`, ours, theirs: loss[step] as number }], bound);
  }

  async final(): Promise<Figure[]> {
    const end = await downloadState(this.#state);
    const bounds = this.#file.tolerance['final.norm'];
    const [weights, statistics, samples]: [Pair[], Pair[], Pair[]] = [[], [], []];
    for (const [name, theirs] of Object.entries(this.#file.final)) {
      const parameter = this.#model.parameters.find((one) => one.name === name);
      const values = (parameter ? end.weights : end.statistics)[name] as Float32Array;
      const torch = parameter ? toTorch(parameter, values) : values;
      const typical = theirs.norm / Math.sqrt(values.length);
      (parameter ? weights : statistics).push({ what: `final ${name}`, ours: norm(values), theirs: theirs.norm });
      theirs.sample.forEach((value, i) => {
        samples.push({ what: `final.sample ${name}[${i}]`, ours: torch[i] ?? Number.NaN, theirs: value, typical });
      });
    }
    const groups: [Pair[], Bound | undefined][] = [
      [weights, bounds['weights and biases']],
      [statistics, bounds['running_mean, running_var']],
      [samples, this.#file.tolerance['final.sample']],
    ];
    return groups.flatMap(([pairs, bound]) => compared(pairs, bound));
  }
}

function norm(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] as number) ** 2;
  return Math.sqrt(sum);
}

function checkNames(file: CaseFile, model: Model): void {
  const parameters = new Set(model.parameters.map(({ name }) => name));
  const groups = [
    ['firstGradNorm', parameters],
    ['samGradNorm', parameters],
    ['final', new Set(model.stateNames)],
  ] as const;
  for (const [group, known] of groups)
    for (const name of Object.keys(file[group]))
      if (!known.has(name)) throw badCase(`a ${group} of '${name}'`, "a tensor of the case's model");
}
