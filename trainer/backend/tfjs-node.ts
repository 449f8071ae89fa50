// The native backend: TensorFlow's CPU kernels through tfjs-node, with raw ops where tfjs has none or a slow one.

import { availableParallelism } from 'node:os';
import { Fault } from '#shards';
import type { Backend, BackendOptions } from './backend.ts';
import { instructionSet } from './instruction-set.ts';
import {
  BATCH_NORM_EPSILON,
  type ConvGeometry,
  type Kernels,
  type Matrix,
  type Tensor,
  type Tensor1D,
  type Tensor4D,
  type TensorLibrary,
} from './kernels.ts';

interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly value: boolean | number | string | number[];
}

/** What we use of tfjs-node's backend: any TensorFlow op by name. */
interface RawOps {
  readonly binding: {
    readonly TF_Version: string;
    readonly TF_ATTR_STRING: number;
    readonly TF_ATTR_INT: number;
    readonly TF_ATTR_FLOAT: number;
    readonly TF_ATTR_BOOL: number;
    readonly TF_ATTR_TYPE: number;
    readonly TF_FLOAT: number;
    readonly TF_INT32: number;
    readonly TF_UINT8: number;
  };
  executeSingleOutput(op: string, attributes: readonly Attribute[], inputs: readonly Tensor[]): Tensor;
  executeMultipleOutputs(
    op: string,
    attributes: readonly Attribute[],
    inputs: readonly Tensor[],
    outputs: number,
  ): Tensor[];
}

/**
 * The library reads its number of threads once, from the process's environment, when it loads. So load it on the main
 * thread: a worker's `process.env` is a copy that the library never sees.
 */
let loadedThreads: number | undefined;

function chooseThreads(wanted: number | undefined): number {
  const threads = wanted ?? loadedThreads ?? (Number(process.env['TF_NUM_INTRAOP_THREADS']) || availableParallelism());
  if (loadedThreads !== undefined && threads !== loadedThreads)
    throw new Fault({
      code: 'threads-fixed',
      received: `${threads} threads`,
      expected: `${loadedThreads}, with which TensorFlow was loaded in this process`,
      remedy: 'choose the number of threads before the backend is first loaded',
    });
  return threads;
}

export async function loadTfjsNode(options: BackendOptions): Promise<Backend> {
  const threads = chooseThreads(options.threads);
  process.env['TF_NUM_INTRAOP_THREADS'] = String(threads);
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
  let tf: TensorLibrary;
  try {
    tf = (await import('@tensorflow/tfjs-node')).default;
  } catch (cause) {
    throw new Fault({
      code: 'backend-unavailable',
      received: `tfjs-node does not load (${(cause as Error).message.split('\n')[0]})`,
      expected: "tfjs-node's addon beside libtensorflow",
      remedy: "run 'npm run setup', or use the wasm backend",
      cause,
    });
  }
  loadedThreads = threads;
  await tf.setBackend('tensorflow');
  const raw = tf.backend() as unknown as RawOps;
  return {
    name: 'tfjs-node',
    tf,
    kernels: nativeKernels(tf, raw),
    numerics: {
      backend: 'tfjs-node',
      libraryVersion: `tfjs-node ${tf.version['tfjs-core']}, TensorFlow ${raw.binding.TF_Version}`,
      threads,
      arch: process.arch,
      isa: await instructionSet(),
      engine: process.versions.v8,
    },
    note: null,
  };
}

function nativeKernels(tf: TensorLibrary, raw: RawOps): Kernels {
  const { binding } = raw;
  const type = (name: string, value: number): Attribute => ({ name, type: binding.TF_ATTR_TYPE, value });
  const ints = (name: string, value: number[]): Attribute => ({ name, type: binding.TF_ATTR_INT, value });
  const bool = (name: string, value: boolean): Attribute => ({ name, type: binding.TF_ATTR_BOOL, value });
  const text = (name: string, value: string): Attribute => ({ name, type: binding.TF_ATTR_STRING, value });
  const float = (name: string, value: number): Attribute => ({ name, type: binding.TF_ATTR_FLOAT, value });

  const T = type('T', binding.TF_FLOAT);
  const NHWC = text('data_format', 'NHWC');
  const batchNormAttributes = [
    T,
    type('U', binding.TF_FLOAT),
    float('epsilon', BATCH_NORM_EPSILON),
    NHWC,
    bool('is_training', true),
  ];
  const conv = ({ stride, padding }: ConvGeometry) => [
    T,
    NHWC,
    ints('strides', [1, stride, stride, 1]),
    text('padding', padding.toUpperCase()),
    ints('explicit_paddings', []),
    ints('dilations', [1, 1, 1, 1]),
    bool('use_cudnn_on_gpu', true),
  ];
  const pool = (size: number, stride: number) => [
    T,
    NHWC,
    ints('ksize', [1, size, size, 1]),
    ints('strides', [1, stride, stride, 1]),
    text('padding', 'VALID'),
  ];
  const along = ({ values, rows, columns }: Matrix, x: Tensor): Tensor =>
    tf.matMul(tf.tensor3d(values, [1, rows, columns]), x);

  return {
    conv2d: (x, filter, geometry) => raw.executeSingleOutput('Conv2D', conv(geometry), [x, filter]) as Tensor4D,
    conv2dInputGradient: (dy, filter, xShape, geometry) =>
      raw.executeSingleOutput('Conv2DBackpropInput', conv(geometry), [
        tf.tensor1d(xShape, 'int32'),
        filter,
        dy,
      ]) as Tensor4D,
    conv2dFilterGradient: (dy, x, filterShape, geometry) =>
      raw.executeSingleOutput('Conv2DBackpropFilter', conv(geometry), [
        x,
        tf.tensor1d(filterShape, 'int32'),
        dy,
      ]) as Tensor4D,

    // Stock tfjs composes this of moments and elementwise ops: a third of a step. The op's variance is unbiased.
    batchNorm(x, gamma, beta) {
      const none = tf.tensor1d([]);
      const inputs = [x, gamma, beta, none, none];
      const [y, mean, variance, ...saved] = raw.executeMultipleOutputs(
        'FusedBatchNormV3',
        batchNormAttributes,
        inputs,
        6,
      );
      none.dispose();
      return { y: y as Tensor4D, mean: mean as Tensor1D, variance: variance as Tensor1D, saved };
    },
    batchNormGradient(dy, x, gamma, saved) {
      const inputs = [dy, x, gamma, ...saved];
      const [dx, dGamma, dBeta] = raw.executeMultipleOutputs('FusedBatchNormGradV3', batchNormAttributes, inputs, 5);
      return [dx as Tensor4D, dGamma as Tensor1D, dBeta as Tensor1D];
    },

    reluGradient: (dy, y) => raw.executeSingleOutput('ReluGrad', [T], [dy, y]) as Tensor4D,
    maxPool: (x, size, stride) => raw.executeSingleOutput('MaxPool', pool(size, stride), [x]) as Tensor4D,
    maxPoolGradient: (dy, x, y, size, stride) =>
      raw.executeSingleOutput('MaxPoolGrad', pool(size, stride), [x, y, dy]) as Tensor4D,

    // Two batched multiplications by a banded matrix: 2–4 times as fast as MirrorPad and a depthwise convolution.
    separable: (x, rows, columns) =>
      tf.tidy(() => {
        const [n, h, w, c] = x.shape;
        const across = along(columns, x.reshape([n * h, w, c])).reshape([n, h, columns.rows * c]);
        return along(rows, across).reshape<Tensor4D>([n, rows.rows, columns.rows, c]);
      }),

    // As a string tensor the bytes cross once; tfjs knows no uint8, and as int32 they would be four times as many.
    images: (bytes, shape) =>
      tf.tidy(() => {
        const packed = tf.scalar(bytes, 'string');
        const decode = [type('out_type', binding.TF_UINT8), bool('little_endian', true)];
        const pixels = raw.executeSingleOutput('DecodeRaw', decode, [packed]);
        const cast = [type('SrcT', binding.TF_UINT8), type('DstT', binding.TF_FLOAT), bool('Truncate', false)];
        return raw.executeSingleOutput('Cast', cast, [pixels]).reshape<Tensor4D>(shape);
      }),
  };
}
