// The differentiable operations a model is made of: each runs a forward kernel and tells the tape its gradient.

import { Fault } from '#shards';
import type { Backend } from './backend.ts';
import {
  BATCH_NORM_EPSILON,
  type ConvGeometry,
  type Matrix,
  type Shape4D,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
} from './kernels.ts';
import type { Tape } from './tape.ts';

/** Mean and standard deviation of ImageNet's RGB values in 0 … 1, as every published ResNet uses them. */
const IMAGENET_MEAN = [0.485, 0.456, 0.406] as const;
const IMAGENET_STD = [0.229, 0.224, 0.225] as const;
/** Padding of a max-pool: float32's lowest finite number, as −∞ times 0 would be NaN. */
const LOWEST = -3.4028234663852886e38;

/** A square sliding window as PyTorch has it: `padding` on every side, then only whole windows. */
export interface Window {
  readonly stride: number;
  readonly padding: number;
}

/**
 * Pixels U8 [n, size, size, 3] as normalised float32, on the device. PyTorch's (x / 255 − mean) / std, as one
 * multiplication and one addition.
 */
export function normaliseImages({ tf, kernels }: Backend, bytes: Uint8Array, shape: Shape4D): Tensor4D {
  return tf.tidy(() => {
    const scale = tf.tensor1d(IMAGENET_STD.map((std) => 1 / (255 * std)));
    const shift = tf.tensor1d(IMAGENET_MEAN.map((mean, i) => -mean / (IMAGENET_STD[i] as number)));
    return kernels.images(bytes, shape).mul(scale).add<Tensor4D>(shift);
  });
}

export class Ops {
  readonly backend: Backend;
  readonly tape: Tape;

  constructor(backend: Backend, tape: Tape) {
    this.backend = backend;
    this.tape = tape;
  }

  /** x [n, h, w, in], filter HWIO. */
  conv2d(x: Tensor4D, filter: Tensor4D, { stride, padding }: Window): Tensor4D {
    const { kernels } = this.backend;
    // One cheap 'same' where it means the same; elsewhere an explicit pad, as kernels know no symmetric padding.
    const same = padding > 0 && stride === 1 && filter.shape[0] === 2 * padding + 1;
    const geometry: ConvGeometry = { stride, padding: same ? 'same' : 'valid' };
    const padded = same || padding === 0 ? x : this.#pad(x, padding, 0);
    const y = kernels.conv2d(padded, filter, geometry);
    const { shape } = padded;
    this.tape.record(y, [padded, filter], [padded, filter], (dy, [x, filter], [needsX, needsFilter]) => [
      needsX ? kernels.conv2dInputGradient(dy as Tensor4D, filter as Tensor4D, shape, geometry) : undefined,
      needsFilter
        ? kernels.conv2dFilterGradient(dy as Tensor4D, x as Tensor4D, (filter as Tensor4D).shape, geometry)
        : undefined,
    ]);
    return y;
  }

  #pad(x: Tensor4D, padding: number, value: number): Tensor4D {
    const sides: [number, number] = [padding, padding];
    const y = this.backend.tf.pad(x, [[0, 0], sides, sides, [0, 0]], value);
    const { shape } = x;
    this.tape.record(y, [x], [], (dy) => [(dy as Tensor4D).slice([0, padding, padding, 0], shape)]);
    return y;
  }

  /** Training mode. `mean` and `variance` (unbiased) are the batch's; no gradient flows through them. */
  batchNorm(x: Tensor4D, gamma: Tensor1D, beta: Tensor1D): { y: Tensor4D; mean: Tensor1D; variance: Tensor1D } {
    const { kernels } = this.backend;
    if (x.size === gamma.size)
      throw new Fault({
        code: 'batch-norm-one-value',
        received: `one value a channel to normalise (an activation of [${x.shape}])`,
        expected: 'at least two: a larger group or resolution',
        remedy: 'raise the batch or the resolution, or lower the number of groups',
      });
    const { y, mean, variance, saved } = kernels.batchNorm(x, gamma, beta);
    this.tape.record(y, [x, gamma, beta], [x, gamma, ...saved], (dy, [x, gamma, ...saved]) =>
      kernels.batchNormGradient(dy as Tensor4D, x as Tensor4D, gamma as Tensor1D, saved),
    );
    return { y, mean, variance };
  }

  /** Inference mode: running statistics. Has no gradient, because nothing before such a layer is ever trained. */
  normalise(x: Tensor4D, mean: Tensor1D, variance: Tensor1D, gamma: Tensor1D, beta: Tensor1D): Tensor4D {
    if ([x, gamma, beta].some((input) => this.tape.tracks(input)))
      throw new Error('a norm in inference mode has no gradient');
    return this.backend.tf.batchNorm4d(x, mean, variance, beta, gamma, BATCH_NORM_EPSILON);
  }

  relu(x: Tensor4D): Tensor4D {
    const { tf, kernels } = this.backend;
    const y = tf.relu(x);
    this.tape.record(y, [x], [y], (dy, [y]) => [kernels.reluGradient(dy as Tensor4D, y as Tensor4D)]);
    return y;
  }

  maxPool(x: Tensor4D, size: number, { stride, padding }: Window): Tensor4D {
    const { kernels } = this.backend;
    const padded = padding === 0 ? x : this.#pad(x, padding, LOWEST);
    const y = kernels.maxPool(padded, size, stride);
    this.tape.record(y, [padded], [padded, y], (dy, [x, y]) => [
      kernels.maxPoolGradient(dy as Tensor4D, x as Tensor4D, y as Tensor4D, size, stride),
    ]);
    return y;
  }

  /** A constant linear map along the rows and one along the columns, the same for every channel. */
  separable(x: Tensor4D, rows: Matrix, columns: Matrix): Tensor4D {
    const { kernels } = this.backend;
    const y = kernels.separable(x, rows, columns);
    this.tape.record(y, [x], [], (dy) => [kernels.separable(dy as Tensor4D, transposed(rows), transposed(columns))]);
    return y;
  }

  add(a: Tensor4D, b: Tensor4D): Tensor4D {
    const y = this.backend.tf.add<Tensor4D>(a, b);
    this.tape.record(y, [a, b], [], (dy) => [dy.clone(), dy.clone()]);
    return y;
  }

  /** [n, h, w, c] → [n, c]. */
  globalAverage(x: Tensor4D): Tensor2D {
    const { tf } = this.backend;
    const [n, h, w, c] = x.shape;
    const y = tf.mean<Tensor2D>(x, [1, 2]);
    this.tape.record(y, [x], [], (dy) => [tf.tile(dy.div(h * w).reshape([n, 1, 1, c]), [1, h, w, 1])]);
    return y;
  }

  /** x [n, in], weight [in, out], bias [out]. */
  dense(x: Tensor2D, weight: Tensor2D, bias: Tensor1D): Tensor2D {
    const { tf } = this.backend;
    const y = tf.add<Tensor2D>(tf.matMul(x, weight), bias);
    this.tape.record(y, [x, weight, bias], [x, weight], (dy, [x, weight], [needsX]) => [
      needsX ? tf.matMul(dy, tf.transpose(weight as Tensor)) : undefined,
      tf.matMul(tf.transpose(x as Tensor), dy),
      tf.sum(dy, 0),
    ]);
    return y;
  }
}

function transposed({ values, rows, columns }: Matrix): Matrix {
  const out = new Float32Array(values.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) out[j * rows + i] = values[i * columns + j] as number;
  return { values: out, rows: columns, columns: rows };
}
