// Label smoothing (Szegedy 2016, §7), and the cross-entropy against soft targets.

import type { Tensor2D, TensorLibrary } from '../../backend/kernels.ts';

/** (1 − s)·targets + s / classes; rows that sum to 1 still do. */
export function smoothed(tf: TensorLibrary, targets: Tensor2D, smoothing: number): Tensor2D {
  return tf.tidy(() => targets.mul(1 - smoothing).add<Tensor2D>(smoothing / targets.shape[1]));
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
