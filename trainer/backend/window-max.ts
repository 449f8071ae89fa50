// The gradient of max-pooling from elementwise operations, for engines whose own is missing or wrong.

import type { Shape4D, Tensor, Tensor3D, Tensor4D, TensorLibrary } from './kernels.ts';

/** One axis's sliding maximum over x [outer, length, inner], with what its gradient needs. */
interface AxisMax {
  readonly y: Tensor3D;
  /** later[j − 1] is 1 where the window's element j exceeded all before it, so that the first of equals wins. */
  readonly later: readonly Tensor3D[];
  readonly length: number;
}

function axisMax(tf: TensorLibrary, x: Tensor3D, size: number, stride: number): AxisMax {
  const [outer, length, inner] = x.shape;
  const windows = Math.floor((length - size) / stride) + 1;
  const view = (j: number): Tensor3D =>
    stride === 1
      ? tf.slice3d(x, [0, j, 0], [outer, windows, inner])
      : (tf.stridedSlice(x, [0, j, 0], [outer, j + (windows - 1) * stride + 1, inner], [1, stride, 1]) as Tensor3D);
  let y = view(0);
  const later: Tensor3D[] = [];
  for (let j = 1; j < size; j++) {
    const next = view(j);
    later.push(tf.step(tf.sub<Tensor3D>(next, y)));
    y = tf.maximum(y, next);
  }
  return { y, later, length };
}

function axisMaxGradient(tf: TensorLibrary, dy: Tensor3D, { later, length }: AxisMax, stride: number): Tensor3D {
  const [outer, windows, inner] = dy.shape;
  const spread = (gradient: Tensor3D, j: number): Tensor3D => {
    const covered = (windows - 1) * stride + 1;
    const gaps: [number, number] = [0, stride - 1];
    const dilated =
      stride === 1
        ? gradient
        : tf.slice3d(
            tf
              .pad(gradient.reshape([outer * windows, 1, inner]), [[0, 0], gaps, [0, 0]])
              .reshape<Tensor3D>([outer, windows * stride, inner]),
            [0, 0, 0],
            [outer, covered, inner],
          );
    return tf.pad(dilated, [
      [0, 0],
      [j, length - j - covered],
      [0, 0],
    ]);
  };
  let left = dy;
  let dx: Tensor3D | undefined;
  for (let j = later.length; j >= 1; j--) {
    const taken = tf.mul<Tensor3D>(left, later[j - 1] as Tensor);
    left = tf.sub<Tensor3D>(left, taken);
    const part = spread(taken, j);
    dx = dx ? tf.add<Tensor3D>(dx, part) : part;
  }
  const first = spread(left, 0);
  return dx ? tf.add<Tensor3D>(dx, first) : first;
}

/** dx of a max-pool over square windows without padding; of equal maxima the first in row-major order is chosen. */
export function windowMaxGradient(
  tf: TensorLibrary,
  dy: Tensor4D,
  x: Tensor4D,
  { size, stride }: { readonly size: number; readonly stride: number },
): Tensor4D {
  return tf.tidy(() => {
    const [n, h, w, c] = x.shape as Shape4D;
    const across = axisMax(tf, x.reshape<Tensor3D>([n * h, w, c]), size, stride);
    const outWidth = across.y.shape[1];
    const down = axisMax(tf, across.y.reshape<Tensor3D>([n, h, outWidth * c]), size, stride);
    const dAcross = axisMaxGradient(tf, dy.reshape<Tensor3D>([n, down.y.shape[1], outWidth * c]), down, stride);
    const dx = axisMaxGradient(tf, dAcross.reshape<Tensor3D>([n * h, outWidth, c]), across, stride);
    return dx.reshape<Tensor4D>([n, h, w, c]);
  });
}
