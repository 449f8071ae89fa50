import assert from 'node:assert/strict';
import { test } from 'node:test';
import { perturb, samFires } from '../../../trainer/methods/sam/sam.ts';
import { anyBackend } from '../backends.ts';

const close = (ours: ArrayLike<number>, theirs: readonly number[]) => {
  assert.equal(ours.length, theirs.length);
  theirs.forEach((value, i) => {
    assert.ok(Math.abs((ours[i] as number) - value) < 1e-6, `${ours[i]}, not ${value}`);
  });
};

test('SAM fires at the last step of every interval', () => {
  const steps = (interval: number) => [0, 1, 2, 3, 4, 5].filter((step) => samFires(step, { interval }));
  assert.deepEqual(steps(1), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(steps(2), [1, 3, 5]);
  assert.deepEqual(steps(3), [2, 5]);
  assert.deepEqual(steps(10), []);
});

test('w + ρ·g/‖g‖ over all tensors together, with w and g left as they are', async () => {
  const { tf } = await anyBackend();
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const weights = { a: tf.tensor1d([1, 2]), b: tf.tensor1d([3]) };
    const gradients = { a: tf.tensor1d([2, 4]), b: tf.tensor1d([-4]) };
    const { perturbed, norm } = perturb(tf, weights, gradients, { rho: 0.6, adaptive: false });
    close(norm.dataSync(), [6]);
    close(perturbed['a']?.dataSync() ?? [], [1.2, 2.4]);
    close(perturbed['b']?.dataSync() ?? [], [2.6]);
    close(weights.a.dataSync(), [1, 2]);
    close(gradients.b.dataSync(), [-4]);
  });
  assert.equal(tf.memory().numTensors, before);
});

test('adaptive: w + ρ·w²·g/‖|w|·g‖', async () => {
  const { tf } = await anyBackend();
  tf.tidy(() => {
    const weights = { a: tf.tensor1d([1, -2]), b: tf.tensor1d([0.5]) };
    const gradients = { a: tf.tensor1d([2, 1]), b: tf.tensor1d([-2]) };
    const { perturbed, norm } = perturb(tf, weights, gradients, { rho: 0.3, adaptive: true });
    // ‖(2, −2, −1)‖ = 3
    close(norm.dataSync(), [3]);
    close(perturbed['a']?.dataSync() ?? [], [1 + 0.1 * 1 * 2, -2 + 0.1 * 4 * 1]);
    close(perturbed['b']?.dataSync() ?? [], [0.5 - 0.1 * 0.25 * 2]);
  });
});

test('a gradient of zero perturbs nothing', async () => {
  const { tf } = await anyBackend();
  tf.tidy(() => {
    const { perturbed } = perturb(tf, { a: tf.tensor1d([1, 2]) }, { a: tf.zeros([2]) }, { rho: 0.5, adaptive: false });
    close(perturbed['a']?.dataSync() ?? [], [1, 2]);
  });
});

test('on a quadratic the perturbed gradient is the closed form’s', async () => {
  const { tf } = await anyBackend();
  tf.tidy(() => {
    // L = ½ Σ h·w²: g = h·w, and at w + e the gradient is h·(w + ρ·h·w/‖h·w‖).
    const h = [3, 0.5, 2];
    const w = [0.4, -1, 0.7];
    const g = w.map((value, i) => (h[i] as number) * value);
    const norm = Math.hypot(...g);
    const { perturbed } = perturb(tf, { w: tf.tensor1d(w) }, { w: tf.tensor1d(g) }, { rho: 0.05, adaptive: false });
    const ours = Array.from(perturbed['w']?.dataSync() ?? [], (value, i) => (h[i] as number) * value);
    close(
      ours,
      w.map((value, i) => (h[i] as number) * (value + (0.05 * (g[i] as number)) / norm)),
    );
  });
});
