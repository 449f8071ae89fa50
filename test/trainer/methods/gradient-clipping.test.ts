import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#shards';
import { type Backend, createState, disposeState, type StepOptions, trainStep } from '#trainer';
import { named } from '../../../trainer/backend/kernels.ts';
import { clipByNorm } from '../../../trainer/methods/gradient-clipping/gradient-clipping.ts';
import { replace } from '../../../trainer/state.ts';
import { anyBackend } from '../backends.ts';
import { noiseBatch, PLAIN, smallModel, valuesOf, WITH_SAM } from '../training.ts';

const G = { a: [3, -4], b: [0, 12] };
/** ‖(3, −4, 0, 12)‖ */
const NORM = 13;

async function clipped(max: number, gradients: Record<string, number[]> = G) {
  const { tf } = await anyBackend();
  const before = tf.memory().numTensors;
  const result = tf.tidy(() => {
    const given = Object.fromEntries(Object.entries(gradients).map(([name, values]) => [name, tf.tensor1d(values)]));
    const { clipped, norm } = clipByNorm(tf, given, max);
    const ours = valuesOf(clipped);
    for (const [name, values] of Object.entries(gradients))
      assert.deepEqual([...(valuesOf(given)[name] ?? [])], values);
    return { norm: norm.dataSync()[0] as number, values: Object.values(ours).flatMap((values) => [...values]) };
  });
  assert.equal(tf.memory().numTensors, before);
  return result;
}

test('PyTorch’s clip_grad_norm_: all gradients times max / (norm + 1e-6), one norm over all', async () => {
  for (const max of [1, 6.5, 12.9]) {
    const { norm, values } = await clipped(max);
    assert.ok(Math.abs(norm - NORM) < 1e-5);
    const factor = max / (NORM + 1e-6);
    [3, -4, 0, 12].forEach((value, i) => {
      assert.ok(Math.abs((values[i] as number) - value * factor) < 1e-5, `${values[i]}, not ${value * factor}`);
    });
  }
});

test('a gradient that is short enough is left to the bit, and so is one of zero', async () => {
  for (const max of [13.1, 1e6]) assert.deepEqual((await clipped(max)).values, [3, -4, 0, 12]);
  assert.deepEqual(await clipped(1, { a: [0, 0] }), { norm: 0, values: [0, 0] });
});

function stepWith(backend: Backend, options: StepOptions) {
  const model = smallModel();
  const state = createState(backend, model, 11);
  const before = valuesOf(state.weights);
  const result = trainStep(backend, model, state, [noiseBatch(0), noiseBatch(0, 1)], options);
  const after = valuesOf(state.weights);
  disposeState(backend, state);
  // With a rate of 1, no momentum and no decay the step is the gradient.
  const step = Object.entries(before).flatMap(([name, values]) =>
    Array.from(values, (value, i) => value - (after[name]?.[i] as number)),
  );
  return { ...result, length: Math.hypot(...step), step };
}

test('what a step clips is the mean over all groups; with SAM it is the second pass’s gradient', async () => {
  const backend = await anyBackend();
  const optimizer = { momentum: 0, nesterov: false, weightDecay: 0, decay: 'weights' as const };
  for (const sam of [
    false,
    { ...(WITH_SAM.sam as object), rho: 0.5 },
    { ...(WITH_SAM.sam as object), rho: 0.5, scope: 'global' },
  ]) {
    const options = { ...PLAIN, learningRate: 1, optimizer, sam } as StepOptions;
    const free = stepWith(backend, options);
    assert.equal(free.unclippedNorm, undefined);
    const max = free.length / 3;
    const held = stepWith(backend, { ...options, clip: { norm: max } });
    assert.ok(
      Math.abs((held.unclippedNorm as number) / free.length - 1) < 1e-4,
      'the norm is that of the step without it',
    );
    assert.ok(Math.abs(held.length / max - 1) < 1e-3, `${held.length}, not ${max}`);
    free.step.forEach((value, i) => {
      assert.ok(Math.abs((held.step[i] as number) - value / 3) < 1e-5 * free.length);
    });
    assert.deepEqual([held.loss, held.gradNorm], [free.loss, free.gradNorm]);
    if (sam) assert.notEqual(Math.fround(held.unclippedNorm as number), held.gradNorm);
    const loose = stepWith(backend, { ...options, clip: { norm: 10 * free.length } });
    assert.deepEqual(loose.step, free.step, 'a norm that is never reached changes nothing');
  }
});

test('weight decay is added after the clipping', async () => {
  const backend = await anyBackend();
  const optimizer = { momentum: 0, nesterov: false, weightDecay: 10, decay: 'all' as const };
  const { length } = stepWith(backend, { ...PLAIN, learningRate: 1, optimizer, clip: { norm: 1e-6 } });
  assert.ok(length > 1, 'decay of 10 times the weights is not clipped to 1e-6');
});

test('a norm that is not finite stops the step by name, and leaves the state', async () => {
  const backend = await anyBackend();
  const model = smallModel();
  const state = createState(backend, model, 11);
  // Logits of about 1e24: their loss is finite, the squares of the gradients behind them are not.
  replace(backend, state.weights, 'fc.weight', backend.tf.mul(named(state.weights, 'fc.weight'), 1e25));
  const [tensors, before] = [backend.tf.memory().numTensors, valuesOf(state.weights)];
  assert.throws(
    () => trainStep(backend, model, state, [noiseBatch(0)], { ...PLAIN, clip: { norm: 1 } }),
    (error) => error instanceof Fault && error.code === 'gradient-not-finite',
  );
  assert.deepEqual([valuesOf(state.weights), state.step], [before, 0]);
  assert.equal(backend.tf.memory().numTensors, tensors);
  disposeState(backend, state);
});
