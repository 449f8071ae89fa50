// The portable backend: WebAssembly kernels on one thread. It has no gradient kernels for filters and depthwise
// convolutions, so those are expressed by what it does well: a convolution, a 2-D multiplication, a transposition.

import type { Backend } from './backend.ts';
import {
  BATCH_NORM_EPSILON,
  type ConvGeometry,
  type Kernels,
  type Matrix,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
  type TensorLibrary,
} from './kernels.ts';
import { windowMaxGradient } from './window-max.ts';

/** `note` says why this backend stands in for another; null when it was asked for. */
export async function loadWasm(note: string | null): Promise<Backend> {
  const tf = (await import('@tensorflow/tfjs')).default;
  await import('@tensorflow/tfjs-backend-wasm');
  await tf.setBackend('wasm');
  return {
    name: 'wasm',
    tf,
    kernels: portableKernels(tf),
    numerics: {
      backend: 'wasm',
      libraryVersion: `tfjs-backend-wasm ${tf.version['tfjs-core']}`,
      threads: 1,
      arch: 'wasm',
      isa: (await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')) ? 'simd128' : 'scalar',
      engine: process.versions.v8,
    },
    note,
  };
}

/** Zeros between the elements: [n, h, w, c] → [n, (h−1)·stride+1, (w−1)·stride+1, c]. */
function dilate(tf: TensorLibrary, x: Tensor4D, stride: number): Tensor4D {
  if (stride === 1) return x;
  const [n, h, w, c] = x.shape;
  const gap: [number, number] = [0, stride - 1];
  const wide = tf.pad(x.reshape([n * h * w, 1, c]), [[0, 0], gap, [0, 0]]);
  const both = tf.pad(wide.reshape([n * h, 1, w * stride * c]), [[0, 0], gap, [0, 0]]);
  const size: [number, number, number, number] = [n, (h - 1) * stride + 1, (w - 1) * stride + 1, c];
  return both.reshape<Tensor4D>([n, h * stride, w * stride, c]).slice([0, 0, 0, 0], size);
}

/** Σ over all but the last axis, [c]: in two levels, which keeps float32's rounding small, by multiplication with ones. */
function channelSums(tf: TensorLibrary, x: Tensor4D): Tensor2D {
  const [n, h, w, c] = x.shape;
  const columns = tf.matMul<Tensor2D>(tf.ones([1, n * h]), x.reshape([n * h, w * c]));
  return tf.matMul<Tensor2D>(tf.ones([1, w]), columns.reshape([w, c]));
}

function portableKernels(tf: TensorLibrary): Kernels {
  const isPointwise = (shape: readonly number[], { stride }: ConvGeometry) =>
    shape[0] === 1 && shape[1] === 1 && stride === 1;
  /** Along the last axis but one of [outer, length, inner]. Only a 2-D right side takes the fast multiplication. */
  const along = (x: Tensor, { values, rows, columns }: Matrix, [outer, inner]: [number, number]): Tensor => {
    const right = tf.transpose(tf.tensor2d(values, [rows, columns]));
    const last = tf.transpose(x.reshape([outer, columns, inner]), [0, 2, 1]).reshape([outer * inner, columns]);
    return tf.transpose(tf.matMul(last, right).reshape([outer, inner, rows]), [0, 2, 1]);
  };

  return {
    conv2d: (x, filter, { stride, padding }) => tf.conv2d(x, filter, stride, padding),

    // The convolution of dy, with zeros between its elements, by the filter turned round.
    conv2dInputGradient: (dy, filter, xShape, geometry) =>
      tf.tidy(() => {
        const [size, , input, output] = filter.shape;
        if (isPointwise(filter.shape, geometry)) {
          const right = tf.transpose(filter.reshape([input, output]));
          return tf.matMul(dy.reshape([-1, output]), right).reshape<Tensor4D>(xShape);
        }
        const turned = tf.transpose(tf.reverse(filter, [0, 1]), [0, 1, 3, 2]);
        if (geometry.padding === 'same') return tf.conv2d(dy, turned, 1, 'same');
        const dilated = dilate(tf, dy, geometry.stride);
        const sides = (axis: 1 | 2): [number, number] => [size - 1, xShape[axis] - dilated.shape[axis]];
        return tf.conv2d(tf.pad(dilated, [[0, 0], sides(1), sides(2), [0, 0]]), turned, 1, 'valid');
      }),

    // The convolution of x by dy with images as channels: [in, h, w, n] * [oh, ow, n, out]; the stride dilates dy.
    conv2dFilterGradient: (dy, x, [size, , input, output], geometry) =>
      tf.tidy(() => {
        if (isPointwise([size, size], geometry)) {
          const left = tf.transpose(x.reshape([-1, input]));
          const product = tf.matMul(left, dy.reshape([-1, output]));
          return product.reshape<Tensor4D>([1, 1, input, output]);
        }
        const side: [number, number] = geometry.padding === 'same' ? [(size - 1) / 2, (size - 1) / 2] : [0, 0];
        const padded = tf.pad(x, [[0, 0], side, side, [0, 0]]);
        const images = tf.transpose<Tensor4D>(padded, [3, 1, 2, 0]);
        const filter = tf.transpose<Tensor4D>(dy, [1, 2, 0, 3]);
        const all = tf.conv2d(images, filter, 1, 'valid', 'NHWC', geometry.stride);
        return tf.transpose<Tensor4D>(all.slice([0, 0, 0, 0], [input, size, size, output]), [1, 2, 0, 3]);
      }),

    batchNorm(x, gamma, beta) {
      const count = x.size / gamma.size;
      const [y, mean, variance, xHat, inverse] = tf.tidy(() => {
        const mean = channelSums(tf, x).div<Tensor1D>(count).reshape([gamma.size]);
        const centred = x.sub<Tensor4D>(mean);
        const biased = channelSums(tf, centred.square()).div(count).reshape([gamma.size]);
        const inverse = biased.add(BATCH_NORM_EPSILON).rsqrt();
        const xHat = centred.mul(inverse);
        return [xHat.mul(gamma).add(beta), mean, biased.mul(count / (count - 1)), xHat, inverse];
      }) as [Tensor4D, Tensor1D, Tensor1D, Tensor, Tensor];
      return { y, mean, variance, saved: [xHat, inverse] };
    },
    batchNormGradient: (dy, x, gamma, [xHat, inverse]) =>
      tf.tidy(() => {
        const count = x.size / gamma.size;
        const dBeta = channelSums(tf, dy).reshape([gamma.size]);
        const dGamma = channelSums(tf, dy.mul(xHat as Tensor4D)).reshape([gamma.size]);
        const inner = dy.sub(dBeta.div(count)).sub((xHat as Tensor).mul(dGamma.div(count)));
        return [inner.mul(gamma.mul(inverse as Tensor)), dGamma, dBeta] as [Tensor4D, Tensor1D, Tensor1D];
      }),

    reluGradient: (dy, y) => tf.tidy(() => dy.mul(tf.step(y))),

    // Not tf.maxPool's gradient, which is wrong on this backend where a window holds nothing above 0.
    maxPool: (x, size, stride) => tf.maxPool(x, size, stride, 'valid'),
    maxPoolGradient: (dy, x, _y, size, stride) => windowMaxGradient(tf, dy, x, { size, stride }),

    separable: (x, rows, columns) =>
      tf.tidy(() => {
        const [n, h, , c] = x.shape;
        const across = along(x, columns, [n * h, c]);
        const down = along(across, rows, [n, columns.rows * c]);
        return down.reshape<Tensor4D>([n, rows.rows, columns.rows, c]);
      }),

    images: (bytes, shape) => tf.tensor4d(new Float32Array(bytes), shape),
  };
}
