// Loss and gradients of one group: the batch as records bring it, through the model, and back.

import { Fault } from '#shards';
import type { Backend } from './backend/backend.ts';
import type { NamedTensors, Shape4D, Tensor, Tensor2D, Tensor4D } from './backend/kernels.ts';
import { named } from './backend/kernels.ts';
import { normaliseImages, Ops } from './backend/ops.ts';
import { Tape } from './backend/tape.ts';
import { crossEntropy, smoothed } from './methods/label-smoothing/label-smoothing.ts';
import { mixedTargets } from './methods/mixup/mixup.ts';
import type { Mode, Model, Parameter } from './model/model.ts';

/** One group's samples of a step, its lanes' chunks in order. */
export interface GroupBatch {
  /** Each U8 [n_i, resolution, resolution, 3]. */
  readonly images: readonly Uint8Array[];
  readonly labelA: Int32Array;
  readonly labelB: Int32Array;
  readonly lam: Float32Array;
  /** Σ n_i. */
  readonly samples: number;
  readonly resolution: number;
}

/** A group's batch on the device. */
export interface DeviceBatch {
  /** Normalised, [n, resolution, resolution, 3]. */
  readonly images: Tensor4D;
  /** [n, classes]. */
  readonly targets: Tensor2D;
}

export function uploadBatch(backend: Backend, group: GroupBatch, classes: number, smoothing: number): DeviceBatch {
  const { images, samples, resolution, labelA, labelB, lam } = group;
  const bytes = images.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const counts = [labelA.length, labelB.length, lam.length];
  if (bytes !== samples * resolution * resolution * 3 || counts.some((count) => count !== samples))
    throw new Fault({
      code: 'batch-inconsistent',
      received: `${bytes} bytes of pixels and ${counts.join(', ')} labels`,
      expected: `${samples} samples of ${resolution} px`,
      remedy: 'the records do not belong together; replay the step',
    });
  const [only] = images;
  const pixels = images.length === 1 && only ? only : Buffer.concat(images);
  return {
    images: normaliseImages(backend, pixels, [samples, resolution, resolution, 3] satisfies Shape4D),
    targets: backend.tf.tidy(() =>
      smoothed(backend.tf, mixedTargets(backend.tf, { labelA, labelB, lam }, classes), smoothing),
    ),
  };
}

export interface GroupGradients {
  /** Scalar: the mean over the group's samples. */
  readonly loss: Tensor;
  /** Of that mean, by the name of each parameter asked for. */
  readonly gradients: NamedTensors;
  /** The batch's mean and unbiased variance of each norm in training mode, by the running statistics' names. */
  readonly batchStatistics: NamedTensors;
}

/** Pure in `weights` and `statistics`: neither is changed. All tensors returned are the caller's. */
export function groupGradients(
  backend: Backend,
  model: Model,
  { images, targets }: DeviceBatch,
  values: { readonly weights: Readonly<NamedTensors>; readonly statistics: Readonly<NamedTensors> },
  trained: readonly Parameter[],
  mode: Mode,
): GroupGradients {
  const { tf } = backend;
  const tape = new Tape(tf);
  try {
    return tf.tidy(() => {
      const sources = trained.map(({ name }) => named(values.weights, name));
      tape.watch(sources);
      const batchStatistics: NamedTensors = {};
      const ops = new Ops(backend, tape);
      const logits = model.forward({ ...values, ops, mode, batchStatistics }, images);
      const { loss, gradient } = crossEntropy(tf, logits, targets);
      const found = tape.gradients(logits, gradient, sources);
      const gradients: NamedTensors = {};
      trained.forEach(({ name }, i) => {
        gradients[name] = found[i] as Tensor;
      });
      return { loss, gradients, batchStatistics };
    });
  } finally {
    tape.dispose();
  }
}
