import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Draws, Fault } from '#shards';
import { type Backend, loadBackend } from '#trainer';
import type { Shape4D, Tensor, Tensor1D, Tensor2D, Tensor4D } from '../../../trainer/backend/kernels.ts';
import { normaliseImages, Ops } from '../../../trainer/backend/ops.ts';
import { Tape } from '../../../trainer/backend/tape.ts';
import { blurPool } from '../../../trainer/methods/blurpool/blurpool.ts';
import { requirement } from '../../requirements.ts';
import { native } from '../backends.ts';

interface Case {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  readonly run: (ops: Ops, inputs: Tensor[]) => Tensor;
  /** Values: `distinct` lie at least 0.05 apart and from 0, so that no kink is near; `normal` are anything. */
  readonly values?: 'distinct' | 'normal';
}

const conv =
  (stride: number, padding: number) =>
  (ops: Ops, [x, filter]: Tensor[]) =>
    ops.conv2d(x as Tensor4D, filter as Tensor4D, { stride, padding });

const CASES: readonly Case[] = [
  {
    name: 'conv 3×3 stride 1',
    shapes: [
      [2, 5, 4, 3],
      [3, 3, 3, 2],
    ],
    run: conv(1, 1),
  },
  {
    name: 'conv 3×3 stride 2, even',
    shapes: [
      [2, 6, 6, 2],
      [3, 3, 2, 3],
    ],
    run: conv(2, 1),
  },
  {
    name: 'conv 3×3 stride 2, odd',
    shapes: [
      [2, 5, 7, 2],
      [3, 3, 2, 3],
    ],
    run: conv(2, 1),
  },
  {
    name: 'conv 7×7 stride 2',
    shapes: [
      [1, 8, 9, 2],
      [7, 7, 2, 2],
    ],
    run: conv(2, 3),
  },
  {
    name: 'conv 1×1',
    shapes: [
      [2, 3, 4, 3],
      [1, 1, 3, 4],
    ],
    run: conv(1, 0),
  },
  {
    name: 'conv 1×1 stride 2, even',
    shapes: [
      [2, 4, 4, 3],
      [1, 1, 3, 2],
    ],
    run: conv(2, 0),
  },
  {
    name: 'conv 1×1 stride 2, odd',
    shapes: [
      [2, 5, 5, 3],
      [1, 1, 3, 2],
    ],
    run: conv(2, 0),
  },
  {
    name: 'batch norm',
    shapes: [[3, 2, 4, 3], [3], [3]],
    run: (ops, [x, gamma, beta]) => ops.batchNorm(x as Tensor4D, gamma as Tensor1D, beta as Tensor1D).y,
  },
  { name: 'relu', shapes: [[2, 3, 3, 2]], run: (ops, [x]) => ops.relu(x as Tensor4D), values: 'distinct' },
  {
    name: 'max-pool 2×2 stride 1',
    shapes: [[2, 4, 5, 2]],
    run: (ops, [x]) => ops.maxPool(x as Tensor4D, 2, { stride: 1, padding: 0 }),
    values: 'distinct',
  },
  {
    name: 'max-pool 3×3 stride 2 padded, even',
    shapes: [[2, 6, 6, 2]],
    run: (ops, [x]) => ops.maxPool(x as Tensor4D, 3, { stride: 2, padding: 1 }),
    values: 'distinct',
  },
  {
    name: 'max-pool 3×3 stride 2 padded, odd',
    shapes: [[2, 5, 7, 2]],
    run: (ops, [x]) => ops.maxPool(x as Tensor4D, 3, { stride: 2, padding: 1 }),
    values: 'distinct',
  },
  ...[2, 3, 4, 5, 6, 7].map(
    (size): Case => ({
      name: `blur ${size}`,
      shapes: [[2, 6, 5, 3]],
      run: (ops, [x]) => blurPool(ops, x as Tensor4D, size, 2),
    }),
  ),
  {
    name: 'add, also of a tensor to itself',
    shapes: [
      [2, 2, 2, 3],
      [2, 2, 2, 3],
    ],
    run: (ops, [a, b]) => ops.add(ops.add(a as Tensor4D, b as Tensor4D), a as Tensor4D),
  },
  { name: 'global average', shapes: [[3, 2, 4, 3]], run: (ops, [x]) => ops.globalAverage(x as Tensor4D) },
  {
    name: 'dense',
    shapes: [[4, 3], [3, 5], [5]],
    run: (ops, [x, weight, bias]) => ops.dense(x as Tensor2D, weight as Tensor2D, bias as Tensor1D),
  },
  {
    name: 'a residual block of all of them',
    shapes: [[2, 6, 6, 3], [3, 3, 3, 3], [3], [3]],
    run: (ops, [x, filter, gamma, beta]) => {
      const y = ops.batchNorm(
        conv(1, 1)(ops, [x as Tensor, filter as Tensor]) as Tensor4D,
        gamma as Tensor1D,
        beta as Tensor1D,
      ).y;
      return ops.globalAverage(blurPool(ops, ops.add(y, x as Tensor4D), 4, 2));
    },
  },
];

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

function inputsOf({ name, shapes, values = 'normal' }: Case): Float32Array[] {
  return shapes.map((shape, index) => {
    const draws = new Draws({ seed: 7, purpose: name, index });
    if (values === 'normal') return Float32Array.from({ length: size(shape) }, () => 2 * draws.uniform() - 1);
    const order = Array.from({ length: size(shape) }, (_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = draws.below(i + 1);
      [order[i], order[j]] = [order[j] as number, order[i] as number];
    }
    // Two thirds below 0, so that some windows hold nothing above it.
    return Float32Array.from(order, (rank) => 0.05 + 0.1 * (rank - Math.floor((2 * order.length) / 3)));
  });
}

/** The output's values, and the gradients of Σ r·output with fixed random r, analytic. */
function evaluateCase({ tf, ...rest }: Backend, one: Case, inputs: readonly Float32Array[]) {
  const backend: Backend = { tf, ...rest };
  return tf.tidy(() => {
    const tensors = inputs.map((values, i) => tf.tensor(values, [...(one.shapes[i] as number[])]));
    const tape = new Tape(tf);
    tape.watch(tensors);
    const y = one.run(new Ops(backend, tape), tensors);
    const r = coefficients(one.name, y.size);
    const gradients = tape.gradients(y, tf.tensor(r, y.shape), tensors).map((tensor) => tensor.dataSync<'float32'>());
    return { y: y.dataSync<'float32'>(), r, gradients };
  });
}

function coefficients(name: string, length: number): Float32Array {
  const draws = new Draws({ seed: 8, purpose: name });
  return Float32Array.from({ length }, () => 2 * draws.uniform() - 1);
}

/** Central differences; the sum is taken in float64, so that only the kernel's own rounding is left. */
function finiteDifferences(backend: Backend, one: Case, inputs: readonly Float32Array[], which: number): Float64Array {
  const step = 2 ** -7;
  const total = (i: number, shift: number): number => {
    const moved = inputs.map((values) => Float32Array.from(values));
    const values = moved[which] as Float32Array;
    values[i] = (values[i] as number) + shift;
    return backend.tf.tidy(() => {
      const tensors = moved.map((data, k) => backend.tf.tensor(data, [...(one.shapes[k] as number[])]));
      const y = one.run(new Ops(backend, new Tape(backend.tf)), tensors).dataSync();
      const r = coefficients(one.name, y.length);
      return r.reduce((sum, value, k) => sum + value * (y[k] as number), 0);
    });
  };
  return Float64Array.from(inputs[which] as Float32Array, (_, i) => (total(i, step) - total(i, -step)) / (2 * step));
}

function assertClose(ours: ArrayLike<number>, theirs: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(ours.length, theirs.length, what);
  for (let i = 0; i < ours.length; i++) {
    const [a, b] = [ours[i] as number, theirs[i] as number];
    assert.ok(Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)), `${what}[${i}]: ${a}, not ${b}`);
  }
}

function testOps(backend: Backend): Map<string, ReturnType<typeof evaluateCase>> {
  const results = new Map<string, ReturnType<typeof evaluateCase>>();
  for (const one of CASES) {
    const inputs = inputsOf(one);
    const before = backend.tf.memory().numTensors;
    const result = evaluateCase(backend, one, inputs);
    result.gradients.forEach((gradient, which) => {
      const numeric = finiteDifferences(backend, one, inputs, which);
      assertClose(gradient, numeric, 2e-3, `${backend.name}: ${one.name}: gradient of input ${which}`);
    });
    assert.equal(backend.tf.memory().numTensors, before, `${backend.name}: ${one.name} leaks tensors`);
    results.set(one.name, result);
  }
  return results;
}

/** What holds on every backend beside the gradients. */
function testDetails(backend: Backend): void {
  const { tf } = backend;
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const ops = new Ops(backend, new Tape(tf));
    // Population variance 1.25, so 5/3 unbiased: what PyTorch's running variance averages.
    const norm = ops.batchNorm(tf.tensor4d([1, 2, 3, 4], [4, 1, 1, 1]), tf.tensor1d([1]), tf.tensor1d([0]));
    assertClose(norm.mean.dataSync(), [2.5], 1e-6, 'mean');
    assertClose(norm.variance.dataSync(), [5 / 3], 1e-6, 'unbiased variance');
    assert.throws(
      () => ops.batchNorm(tf.ones([1, 1, 1, 2]), tf.ones([2]), tf.zeros([2])),
      (error) => error instanceof Fault && error.code === 'batch-norm-one-value',
    );
    const bytes = Uint8Array.from({ length: 2 * 2 * 2 * 3 }, (_, i) => (i * 37) % 256);
    const [mean, std] = [
      [0.485, 0.456, 0.406],
      [0.229, 0.224, 0.225],
    ];
    const expected = Array.from(bytes, (byte, i) => (byte / 255 - (mean[i % 3] as number)) / (std[i % 3] as number));
    assertClose(normaliseImages(backend, bytes, [2, 2, 2, 3]).dataSync(), expected, 1e-6, 'normalised images');
    // All of a window's values equal: the gradient is the first one's, in row-major order, on every engine.
    const tape = new Tape(tf);
    const flat = tf.fill([1, 3, 3, 1], -2) as Tensor4D;
    tape.watch([flat]);
    const y = new Ops(backend, tape).maxPool(flat, 2, { stride: 1, padding: 0 });
    const [dx] = tape.gradients(y, tf.tensor([1, 2, 3, 4], y.shape), [flat]);
    assertClose((dx as Tensor).dataSync(), [1, 2, 0, 3, 4, 0, 0, 0, 0], 0, 'gradient of equal maxima');
    // A blurred constant stays constant: no border darkens.
    const shape: Shape4D = [1, 7, 6, 2];
    const blurred = blurPool(ops, tf.fill(shape, 3) as Tensor4D, 4, 2);
    assert.deepEqual(blurred.shape, [1, 4, 3, 2]);
    assertClose(blurred.dataSync(), new Array(24).fill(3), 1e-6, 'blurred constant');
  });
  assert.equal(tf.memory().numTensors, before);
}

test('the gradient of every operation equals finite differences, on both backends, and both agree', async (t) => {
  const needsNative = requirement('tfjs-node');
  let nativeResults: ReturnType<typeof testOps> | undefined;
  await t.test('tfjs-node', needsNative, async () => {
    const backend = await native();
    nativeResults = testOps(backend);
    testDetails(backend);
  });
  let wasmResults: ReturnType<typeof testOps> | undefined;
  await t.test('wasm', async () => {
    const wasm = await loadBackend('wasm');
    wasmResults = testOps(wasm);
    testDetails(wasm);
  });
  await t.test('wasm and tfjs-node agree to 1e-5', needsNative, () => {
    assert.ok(nativeResults && wasmResults);
    for (const [name, { y, gradients }] of nativeResults) {
      const theirs = wasmResults.get(name);
      assert.ok(theirs);
      assertClose(theirs.y, y, 1e-5, `${name}: output`);
      gradients.forEach((gradient, i) => {
        assertClose(theirs.gradients[i] as Float32Array, gradient, 1e-5, `${name}: gradient ${i}`);
      });
    }
  });
});

test('a tape lets go of what it holds when the gradients are never asked for', async () => {
  const backend = await loadBackend('wasm');
  const { tf } = backend;
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const tape = new Tape(tf);
    const x = tf.ones([1, 2, 2, 1]) as Tensor4D;
    tape.watch([x]);
    new Ops(backend, tape).relu(x);
    tape.dispose();
  });
  assert.equal(tf.memory().numTensors, before);
});

test('what depends on nothing that is watched is not recorded', async () => {
  const backend = await loadBackend('wasm');
  const { tf } = backend;
  tf.tidy(() => {
    const tape = new Tape(tf);
    const [x, watched] = [tf.ones([1, 2, 2, 1]) as Tensor4D, tf.ones([1, 2, 2, 1]) as Tensor4D];
    tape.watch([watched]);
    const ops = new Ops(backend, tape);
    assert.equal(tape.tracks(ops.relu(x)), false);
    assert.equal(tape.tracks(ops.add(ops.relu(x), watched)), true);
  });
});
