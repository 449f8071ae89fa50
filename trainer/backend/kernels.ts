// What a backend must compute: forward and gradient kernels over NHWC float32 tensors, without any bookkeeping.

import type * as tfjs from '@tensorflow/tfjs';

/** The tensor library; every backend runs under its one global engine. */
export type TensorLibrary = Omit<typeof tfjs, 'default'>;
export type Tensor = tfjs.Tensor;
export type Tensor1D = tfjs.Tensor1D;
export type Tensor2D = tfjs.Tensor2D;
export type Tensor3D = tfjs.Tensor3D;
export type Tensor4D = tfjs.Tensor4D;
/** Tensors by parameter or statistic name: a plain object, because `tf.tidy` walks it. */
export type NamedTensors = Record<string, Tensor>;

/** The tensor of that name; a missing one is a defect of ours. */
export function named<T extends Tensor = Tensor>(tensors: Readonly<NamedTensors>, name: string): T {
  const tensor = tensors[name];
  if (!tensor) throw new Error(`no tensor '${name}'`);
  return tensor as T;
}

/** `same` only with stride 1 and an odd filter, where it equals PyTorch's symmetric padding of (size − 1) / 2. */
export interface ConvGeometry {
  readonly stride: number;
  readonly padding: 'same' | 'valid';
}

/** Rows of a constant linear map along one axis, row-major [rows, columns]. */
export interface Matrix {
  readonly values: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

export interface BatchNormResult {
  readonly y: Tensor4D;
  /** [channels]; the batch's. */
  readonly mean: Tensor1D;
  /** [channels]; unbiased, divided by count − 1, which is what PyTorch's running variance averages. */
  readonly variance: Tensor1D;
  /** What the gradient needs beside x and gamma. */
  readonly saved: readonly Tensor[];
}

/** Added to the variance, as in PyTorch's BatchNorm2d. */
export const BATCH_NORM_EPSILON = 1e-5;

/**
 * The few operations whose best form differs between backends. Filters are HWIO. Gradients are of a scalar loss, given
 * dy; each equals the derivative of its forward kernel (tested against finite differences).
 */
export interface Kernels {
  conv2d(x: Tensor4D, filter: Tensor4D, geometry: ConvGeometry): Tensor4D;
  conv2dInputGradient(dy: Tensor4D, filter: Tensor4D, xShape: Shape4D, geometry: ConvGeometry): Tensor4D;
  conv2dFilterGradient(dy: Tensor4D, x: Tensor4D, filterShape: Shape4D, geometry: ConvGeometry): Tensor4D;
  /** Normalisation by the batch's own statistics. */
  batchNorm(x: Tensor4D, gamma: Tensor1D, beta: Tensor1D): BatchNormResult;
  /** Gradients of x, gamma and beta. */
  batchNormGradient(
    dy: Tensor4D,
    x: Tensor4D,
    gamma: Tensor1D,
    saved: readonly Tensor[],
  ): [Tensor4D, Tensor1D, Tensor1D];
  /** `y` is relu's output. */
  reluGradient(dy: Tensor4D, y: Tensor4D): Tensor4D;
  /** Square windows, no padding. */
  maxPool(x: Tensor4D, size: number, stride: number): Tensor4D;
  /** Of equal maxima the first in row-major order gets the gradient, as in PyTorch. */
  maxPoolGradient(dy: Tensor4D, x: Tensor4D, y: Tensor4D, size: number, stride: number): Tensor4D;
  /** out[n, i, j, c] = Σ rows[i, h] · columns[j, w] · x[n, h, w, c]. */
  separable(x: Tensor4D, rows: Matrix, columns: Matrix): Tensor4D;
  /** Bytes of U8 [n, h, w, 3] as float32 in 0 … 255. */
  images(bytes: Uint8Array, shape: Shape4D): Tensor4D;
}

export type Shape4D = [number, number, number, number];
