// Trainers with one mistake each, that some case must tell from a right one.

import { type Backend, groupGradients, replace, type StepOptions, uploadBatch } from '#trainer';
import { BATCH_NORM_EPSILON, type Kernels, type Matrix, named, type Tensor } from '../../trainer/backend/kernels.ts';
import { perturb, samFires } from '../../trainer/methods/sam/sam.ts';
import type { CaseOptions } from './case-file.ts';
import type { Trainer } from './figures.ts';

export interface Mutant {
  readonly mistake: string;
  /** The case that tells, in test/parity/cases: the quickest of them. */
  readonly tells: string;
  /** A mistake in what the trainer is told. */
  readonly options?: (right: CaseOptions) => Partial<CaseOptions>;
  /** A mistake in what it computes. */
  readonly trainer?: (right: Trainer) => Trainer;
}

export const MUTANTS: readonly Mutant[] = [
  { mistake: 'no weight decay', tells: 'nesterov-filter2', options: () => ({ wd: 0 }) },
  { mistake: 'ρ × 0.9', tells: 'nesterov-filter2', options: ({ rho }) => ({ rho: 0.9 * rho }) },
  {
    mistake: 'the other BN policy in the second pass, where it holds',
    tells: 'plain',
    options: () => ({ bn_second_pass: true }),
  },
  {
    mistake: 'the other BN policy in the second pass, where it moves',
    tells: 'adaptive-filter5',
    options: () => ({ bn_second_pass: false }),
  },
  { mistake: 'no Nesterov', tells: 'nesterov-filter2', options: () => ({ nesterov: false }) },
  { mistake: 'Nesterov', tells: 'plain', options: () => ({ nesterov: true }) },
  { mistake: 'interval + 1', tells: 'plain', options: ({ interval }) => ({ interval: interval + 1 }) },
  { mistake: 'smoothing 0.09', tells: 'plain', options: () => ({ smoothing: 0.09 }) },
  { mistake: 'a blur of 3', tells: 'nesterov-filter2', options: () => ({ filter: 3 }) },
  { mistake: 'a blur of 6 for 7', tells: 'interval2-filter7', options: () => ({ filter: 6 }) },
  { mistake: 'momentum 0.8', tells: 'nesterov-filter2', options: () => ({ momentum: 0.8 }) },
  { mistake: 'adaptive', tells: 'nesterov-filter2', options: () => ({ adaptive: true }) },
  { mistake: 'not adaptive', tells: 'adaptive-filter5', options: () => ({ adaptive: false }) },
  { mistake: 'learning rate × 1.01', tells: 'plain', options: ({ lr }) => ({ lr: 1.01 * lr }) },
  { mistake: 'no decay of norms and biases', tells: 'nesterov-filter2', trainer: decayingWeightsOnly },
  { mistake: 'BN epsilon 1e-3', tells: 'nesterov-filter2', trainer: (right) => withEpsilon(right, 1e-3) },
  { mistake: 'the running variance biased', tells: 'plain', trainer: biasedVariance },
  { mistake: "the blur's padding the wrong way round", tells: 'interval3-filter6', trainer: reversedBlur },
  { mistake: 'the step from w + e', tells: 'nesterov-filter2', trainer: keepingPerturbation },
  { mistake: 'the sum over the batch for its mean', tells: 'nesterov-filter2', trainer: summing },
];

/** The most intricate injection without its mistake. */
export const CONTROL: Mutant = {
  mistake: 'none',
  tells: 'nesterov-filter2',
  trainer: (right) => withEpsilon(right, BATCH_NORM_EPSILON),
};

function withKernels(right: Trainer, change: (kernels: Kernels) => Partial<Kernels>): Trainer {
  const { kernels } = right.backend;
  return { ...right, backend: { ...right.backend, kernels: { ...kernels, ...change(kernels) } } };
}

/** BN of s·x with epsilon ε is BN of x with ε / s². */
function withEpsilon(right: Trainer, epsilon: number): Trainer {
  const { tf } = right.backend;
  const s = Math.sqrt(BATCH_NORM_EPSILON / epsilon);
  const inference: Backend['tf']['batchNorm4d'] = (x, mean, variance, offset, scale) =>
    tf.batchNorm4d(x, mean, variance, offset, scale, epsilon);
  const backend = { ...right.backend, tf: { ...tf, batchNorm4d: inference } };
  return withKernels({ ...right, backend }, (kernels) => ({
    batchNorm: (x, gamma, beta) => {
      const { y, mean, variance, saved } = kernels.batchNorm(tf.mul(x, s), gamma, beta);
      return { y, mean: tf.div(mean, s), variance: tf.div(variance, s * s), saved };
    },
    batchNormGradient: (dy, x, gamma, saved) => {
      const [dx, dGamma, dBeta] = kernels.batchNormGradient(dy, tf.mul(x, s), gamma, saved);
      return [tf.mul(dx, s), dGamma, dBeta];
    },
  }));
}

function biasedVariance(right: Trainer): Trainer {
  return withKernels(right, (kernels) => ({
    batchNorm: (x, gamma, beta) => {
      const found = kernels.batchNorm(x, gamma, beta);
      const count = x.size / gamma.size;
      return { ...found, variance: right.backend.tf.mul(found.variance, (count - 1) / count) };
    },
  }));
}

/** ⌈(k − 1)/2⌉ before and ⌊(k − 1)/2⌋ after, and every second place counted from the other side. */
function reversedBlur(right: Trainer): Trainer {
  const reversed = (matrix: Matrix): Matrix => ({ ...matrix, values: matrix.values.slice().reverse() });
  return withKernels(right, ({ separable }) => ({
    separable: (x, rows, columns) => separable(x, reversed(rows), reversed(columns)),
  }));
}

function withOptions(right: Trainer, change: (options: StepOptions) => StepOptions): Trainer {
  return {
    ...right,
    step: (backend, model, state, groups, options) => right.step(backend, model, state, groups, change(options)),
  };
}

function decayingWeightsOnly(right: Trainer): Trainer {
  return withOptions(right, (options) => ({ ...options, optimizer: { ...options.optimizer, decay: 'weights' } }));
}

/** Loss and gradients that the batch's size multiplies. */
function summing(right: Trainer): Trainer {
  return {
    ...right,
    gradients: (backend, model, batch, values, trained, mode) => {
      const { tf } = backend;
      const { loss, gradients, batchStatistics } = groupGradients(backend, model, batch, values, trained, mode);
      const [samples] = batch.targets.shape;
      const sums = Object.fromEntries(Object.entries(gradients).map(([name, mean]) => [name, tf.mul(mean, samples)]));
      return { loss: tf.mul(loss, samples), gradients: sums, batchStatistics };
    },
  };
}

/** SAM that never takes e away again. */
function keepingPerturbation(right: Trainer): Trainer {
  return {
    ...right,
    step: (backend, model, state, groups, options) => {
      const { tf } = backend;
      const { sam, labelSmoothing } = options;
      const [group] = groups;
      if (!group || !sam || !samFires(state.step, sam)) return right.step(backend, model, state, groups, options);
      return tf.tidy(() => {
        const batch = uploadBatch(backend, group, model.classes, labelSmoothing);
        const { gradients } = groupGradients(backend, model, batch, state, model.parameters, 'train');
        const { perturbed } = perturb(tf, state.weights, gradients, sam);
        const e = model.parameters.map(({ name }) => tf.sub(named(perturbed, name), named(state.weights, name)));
        const result = { ...right.step(backend, model, state, groups, options) };
        model.parameters.forEach(({ name }, i) => {
          replace(backend, state.weights, name, tf.add(named(state.weights, name), e[i] as Tensor));
        });
        return result;
      });
    },
  };
}
