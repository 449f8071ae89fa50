// MixUp's targets (Zhang 2017): the pixels are blended in the stream, the classes here.

import type { Tensor2D, TensorLibrary } from '../../backend/kernels.ts';

/** n samples: the class of each, that of its MixUp partner, and the first one's share in 0 … 1. */
export interface MixedLabels {
  readonly labelA: Int32Array;
  readonly labelB: Int32Array;
  readonly lam: Float32Array;
}

/** Targets [n, classes] float32: lam·onehot(a) + (1 − lam)·onehot(b); each row sums to 1. */
export function mixedTargets(tf: TensorLibrary, { labelA, labelB, lam }: MixedLabels, classes: number): Tensor2D {
  return tf.tidy(() => {
    const oneHot = (labels: Int32Array) => tf.oneHot(tf.tensor1d(labels, 'int32'), classes).toFloat();
    const share = tf.tensor2d(lam, [lam.length, 1]);
    return oneHot(labelA)
      .mul(share)
      .add<Tensor2D>(oneHot(labelB).mul(tf.sub(1, share)));
  });
}
