// One training step: every group's gradients (SAM's second sweep included), their mean, the optimizer, the statistics.

import { killPoint } from '#shards';
import type { ClipRecipe, OptimizerRecipe, Recipe, SamRecipe } from '#stream';
import type { Backend } from './backend/backend.ts';
import { type NamedTensors, named, type Tensor } from './backend/kernels.ts';
import { type DeviceBatch, type GroupBatch, type GroupGradients, groupGradients, uploadBatch } from './gradients.ts';
import { emaDecay, moveAverage } from './methods/ema/ema.ts';
import { fixresParameters } from './methods/fixres/fixres.ts';
import { clipByNorm } from './methods/gradient-clipping/gradient-clipping.ts';
import { perturb, samFires } from './methods/sam/sam.ts';
import type { Model, Parameter } from './model/model.ts';
import { normOf } from './norm.ts';
import { NotFinite } from './not-finite.ts';
import { ALONE, type Exchange } from './ranks/exchange.ts';
import { sgdStep } from './sgd.ts';
import { replace, type TrainState } from './state.ts';
import { TreeSum } from './tree-sum.ts';

/** PyTorch's momentum of the running statistics: the share that the newest batch gets. */
const STATISTICS_MOMENTUM = 0.1;

export interface StepOptions {
  readonly learningRate: number;
  readonly optimizer: Pick<OptimizerRecipe, 'momentum' | 'nesterov' | 'weightDecay' | 'decay'>;
  readonly sam: SamRecipe | false;
  readonly labelSmoothing: number;
  /** Train only what FixRes trains, without SAM. */
  readonly fixres: boolean;
  /** Off where it is not given. */
  readonly clip?: ClipRecipe | false;
  /** The share that the state's average keeps at this step; given exactly where the state has one. */
  readonly emaDecay?: number;
}

/** The options of a step in phase `index`, from the recipe. */
export function stepOptions(recipe: Recipe, index: number, learningRate: number): StepOptions {
  const { optimizer, labelSmoothing, sam, clip, ema, phases } = recipe;
  const phase = phases[index];
  if (!phase) throw new RangeError(`phase ${index} of ${phases.length}`);
  const fixres = phase.fixres !== undefined;
  const options = { learningRate, optimizer, labelSmoothing, sam: fixres ? (false as const) : sam, fixres, clip };
  return ema ? { ...options, emaDecay: emaDecay(ema, phase.batch) } : options;
}

export interface StepResult {
  /** At w, before any perturbation; mean over the groups. */
  readonly loss: number;
  /** ‖g‖₂ that SAM divided by (adaptive: ‖|w|·g‖₂), mean over the groups where each has its own; only where SAM fired. */
  readonly gradNorm?: number;
  /** ‖g‖₂ of the step's gradient before it was clipped; only with `clip`. */
  readonly unclippedNorm?: number;
}

/**
 * Runs one step on `groups`, those of the global batch that this rank owns, one after another; the unit of BatchNorm and
 * gradient is the group. Moves `state` to the next step, alike at every rank.
 * @throws NotFinite `loss-not-finite`, `gradient-not-finite`: the state is then as it was before the step.
 */
export function trainStep(
  backend: Backend,
  model: Model,
  state: TrainState,
  groups: readonly GroupBatch[],
  options: StepOptions,
  exchange: Exchange = ALONE,
): StepResult {
  const { average } = state;
  const { emaDecay } = options;
  if ((average === null) !== (emaDecay === undefined)) throw new Error('an average and its decay go together');
  return backend.tf.tidy(() => {
    const sweep = new Sweep(backend, model, state, groups, options, exchange);
    const { gradients, statistics, loss, gradNorm, unclippedNorm } = sweep.run();
    sgdStep(backend, state, sweep.trained, gradients, options.learningRate, options.optimizer);
    for (const means of statistics) moveStatistics(backend, state, means);
    if (average && emaDecay !== undefined) moveAverage(backend, average, state, emaDecay);
    state.step++;
    return {
      loss,
      ...(gradNorm !== null && { gradNorm }),
      ...(unclippedNorm !== null && { unclippedNorm }),
    };
  });
}

interface SweepResult {
  /** Mean over groups, clipped where that is asked for. */
  readonly gradients: NamedTensors;
  /** The groups' mean batch statistics, once for each pass that moves the running ones. */
  readonly statistics: NamedTensors[];
  readonly loss: number;
  readonly gradNorm: number | null;
  readonly unclippedNorm: number | null;
}

/** All passes over the groups of one step; changes nothing of the state. */
class Sweep {
  readonly trained: readonly Parameter[];
  readonly #backend: Backend;
  readonly #model: Model;
  readonly #state: TrainState;
  readonly #groups: readonly GroupBatch[];
  readonly #options: StepOptions;
  readonly #exchange: Exchange;
  /** Of this rank's groups, as are the statistics; the norm of scope `global` is that of all groups. */
  readonly #losses: number[] = [];
  readonly #norms: number[] = [];
  /** Whose pass runs, counted over all ranks; null outside of a pass. */
  #group: number | null = null;
  #sums = 0;

  constructor(
    backend: Backend,
    model: Model,
    state: TrainState,
    groups: readonly GroupBatch[],
    options: StepOptions,
    exchange: Exchange,
  ) {
    this.#backend = backend;
    this.#model = model;
    this.#state = state;
    this.#groups = groups;
    this.#options = options;
    this.#exchange = exchange;
    this.trained = options.fixres ? fixresParameters(model) : model.parameters;
  }

  run(): SweepResult {
    const { tf } = this.#backend;
    const { sam } = this.#options;
    const fires = sam !== false && samFires(this.#state.step, sam);
    const first: NamedTensors[] = [];
    const second: NamedTensors[] = [];
    let sum: NamedTensors;
    if (fires && sam.scope === 'global') {
      const total = this.#sum((batch) => this.#checked(this.#first(batch, first)));
      const perturbed = this.#perturbed(total, sam);
      tf.dispose(total);
      sum = this.#sum((batch) => this.#second(batch, perturbed, second));
      tf.dispose(perturbed);
    } else {
      sum = this.#sum((batch) => {
        const gradients = this.#first(batch, first);
        // Where SAM fires, the norm that `perturb` divides by is checked.
        if (!fires) return this.#checked(gradients);
        const perturbed = this.#perturbed(gradients, sam);
        tf.dispose(gradients);
        const sharp = this.#second(batch, perturbed, second);
        tf.dispose(perturbed);
        return sharp;
      });
    }
    if (fires) killPoint('sam-after-second-pass', this.#state.step);
    const losses = this.#ofAllGroups(this.#losses);
    const norms = fires && sam.scope === 'group' ? this.#ofAllGroups(this.#norms) : this.#norms;
    const mean = (values: readonly number[]) => values.reduce((total, value) => total + value, 0) / values.length;
    const gradients = losses.length === 1 ? sum : scaled(this.#backend, sum, 1 / losses.length);
    return {
      ...this.#clipped(gradients),
      statistics: (fires && sam.bnSecondPass ? [first, second] : [first]).map((groups) => this.#meanOf(groups)),
      loss: mean(losses),
      gradNorm: fires ? mean(norms) : null,
    };
  }

  /** A float32 of each own group → of each group of the step, in order. */
  #ofAllGroups(own: readonly number[]): number[] {
    return this.#exchange.rows(own.map((value) => Float32Array.of(value))).flatMap((row) => [...row]);
  }

  /** The mean over all ranks' groups, added up in the groups' order. */
  #meanOf(own: readonly NamedTensors[]): NamedTensors {
    const { tf } = this.#backend;
    const groups = this.#exchange.ofEachGroup(tf, own);
    const [first = {}, ...others] = groups;
    let sum = first;
    for (const statistics of others) {
      const earlier = sum;
      sum = Object.fromEntries(
        Object.entries(statistics).map(([name, value]) => [name, tf.add(named(earlier, name), value)]),
      );
      tf.dispose([earlier, statistics]);
    }
    return groups.length === 1 ? sum : scaled(this.#backend, sum, 1 / groups.length);
  }

  #sum(gradientsOf: (batch: DeviceBatch) => NamedTensors): NamedTensors {
    const { labelSmoothing } = this.#options;
    const tree = new TreeSum(this.#backend.tf, this.#exchange.firstGroup);
    this.#exchange.telling(() => {
      for (const [i, group] of this.#groups.entries()) {
        this.#group = this.#exchange.firstGroup + i;
        const batch = uploadBatch(this.#backend, group, this.#model.classes, labelSmoothing);
        tree.push(gradientsOf(batch));
        this.#backend.tf.dispose([batch.images, batch.targets]);
      }
      this.#group = null;
    });
    return this.#exchange.total(this.#backend.tf, tree, this.#state.step, this.#sums++);
  }

  /** At w. */
  #first(batch: DeviceBatch, statistics: NamedTensors[]): NamedTensors {
    const found = this.#pass(batch, this.#state.weights, statistics);
    this.#losses.push(this.#finite(found.loss, 'loss'));
    return found.gradients;
  }

  /** At w + e. */
  #second(batch: DeviceBatch, weights: NamedTensors, statistics: NamedTensors[]): NamedTensors {
    const found = this.#pass(batch, { ...this.#state.weights, ...weights }, statistics);
    this.#finite(found.loss, 'loss');
    const gradients = this.#checked(found.gradients);
    killPoint('sam-in-second-pass', this.#state.step);
    return gradients;
  }

  #pass(batch: DeviceBatch, weights: NamedTensors, statistics: NamedTensors[]): GroupGradients {
    const mode = this.#options.fixres ? 'fixres' : 'train';
    const values = { weights, statistics: this.#state.statistics };
    const found = groupGradients(this.#backend, this.#model, batch, values, this.trained, mode);
    statistics.push(found.batchStatistics);
    return found;
  }

  #clipped(gradients: NamedTensors): Pick<SweepResult, 'gradients' | 'unclippedNorm'> {
    const { clip = false } = this.#options;
    if (!clip) return { gradients, unclippedNorm: null };
    const { clipped, norm } = clipByNorm(this.#backend.tf, gradients, clip.norm);
    this.#backend.tf.dispose(gradients);
    return { gradients: clipped, unclippedNorm: this.#finite(norm, 'gradient') };
  }

  #perturbed(gradients: NamedTensors, sam: SamRecipe): NamedTensors {
    const { perturbed, norm } = perturb(this.#backend.tf, this.#state.weights, gradients, sam);
    this.#norms.push(this.#finite(norm, 'gradient'));
    killPoint('sam-before-second-pass', this.#state.step);
    return perturbed;
  }

  /** A pass's gradients, once they are known to be finite: here it is still known which group's they are. */
  #checked(gradients: NamedTensors): NamedTensors {
    const norm = normOf(this.#backend.tf, gradients);
    this.#finite(norm, 'gradient');
    norm.dispose();
    return gradients;
  }

  #finite(scalar: Tensor, what: 'loss' | 'gradient'): number {
    const [value = Number.NaN] = scalar.dataSync();
    if (Number.isFinite(value)) return value;
    throw new NotFinite({
      code: `${what}-not-finite`,
      what: `a ${what}${what === 'gradient' ? ' norm' : ''} of ${value}`,
      step: this.#state.step,
      group: this.#group,
    });
  }
}

function scaled({ tf }: Backend, tensors: NamedTensors, factor: number): NamedTensors {
  const scale = tf.scalar(factor);
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => {
      const value = tf.mul(tensor, scale);
      tensor.dispose();
      return [name, value];
    }),
  );
}

function moveStatistics(backend: Backend, state: TrainState, means: NamedTensors): void {
  const { tf } = backend;
  const [keep, take] = [tf.scalar(1 - STATISTICS_MOMENTUM), tf.scalar(STATISTICS_MOMENTUM)];
  for (const [name, mean] of Object.entries(means)) {
    const running = named(state.statistics, name);
    replace(backend, state.statistics, name, tf.add(tf.mul(running, keep), tf.mul(mean, take)));
  }
}
