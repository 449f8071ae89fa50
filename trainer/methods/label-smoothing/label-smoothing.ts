// Soft targets: MixUp's pair of classes, smoothed (Szegedy 2016, §7), and the cross-entropy against them.

import type { Tensor2D, TensorLibrary } from '../../backend/kernels.ts';

/** n samples: the class of each, that of its MixUp partner, and the first one's share in 0 … 1. */
export interface MixedLabels {
  readonly labelA: Int32Array;
  readonly labelB: Int32Array;
  readonly lam: Float32Array;
}

/** Targets [n, classes] float32: (1 − s)·(lam·onehot(a) + (1 − lam)·onehot(b)) + s / classes; each row sums to 1. */
export function softTargets(
  tf: TensorLibrary,
  { labelA, labelB, lam }: MixedLabels,
  classes: number,
  smoothing: number,
): Tensor2D {
  return tf.tidy(() => {
    const oneHot = (labels: Int32Array) => tf.oneHot(tf.tensor1d(labels, 'int32'), classes).toFloat();
    const share = tf.tensor2d(lam, [lam.length, 1]);
    const mixed = oneHot(labelA)
      .mul(share)
      .add(oneHot(labelB).mul(tf.sub(1, share)));
    return mixed.mul(1 - smoothing).add<Tensor2D>(smoothing / classes);
  });
}

/** Mean cross-entropy over the batch (scalar), and its gradient by the logits, (softmax − target) / n. */
export function crossEntropy(tf: TensorLibrary, logits: Tensor2D, targets: Tensor2D) {
  return tf.tidy(() => {
    const logProbabilities = tf.logSoftmax(logits);
    const loss = tf.neg(tf.sum(tf.mul(targets, logProbabilities))).div(logits.shape[0]);
    const gradient = tf.sub(tf.exp(logProbabilities), targets).div<Tensor2D>(logits.shape[0]);
    return { loss, gradient };
  });
}
