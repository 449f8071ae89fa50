import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crossEntropy, softTargets } from '../../../trainer/methods/label-smoothing/label-smoothing.ts';
import { anyBackend } from '../backends.ts';

const close = (ours: ArrayLike<number>, theirs: readonly number[], tolerance = 1e-6) => {
  assert.equal(ours.length, theirs.length);
  theirs.forEach((value, i) => {
    assert.ok(Math.abs((ours[i] as number) - value) <= tolerance, `[${i}]: ${ours[i]}, not ${value}`);
  });
};

test('targets are the two classes by their shares, smoothed; a row sums to 1', async () => {
  const { tf } = await anyBackend();
  tf.tidy(() => {
    const labels = {
      labelA: Int32Array.of(0, 2, 1),
      labelB: Int32Array.of(3, 2, 0),
      lam: Float32Array.of(0.75, 0.75, 1),
    };
    const hard = softTargets(tf, labels, 4, 0).dataSync();
    close(hard, [0.75, 0, 0, 0.25, 0, 0, 1, 0, 0, 1, 0, 0]);
    const smooth = softTargets(tf, labels, 4, 0.1).dataSync();
    close(
      smooth,
      Array.from(hard, (value) => 0.9 * value + 0.025),
    );
  });
});

test('the loss is −Σ t·log softmax over n, and its gradient equals finite differences', async () => {
  const { tf } = await anyBackend();
  const logits = [0.3, -1.2, 2, 0.1, 0.5, -0.4];
  const targets = [0.2, 0.5, 0.3, 0.1, 0.1, 0.8];
  const lossAt = (z: readonly number[]) => {
    let total = 0;
    for (let row = 0; row < 6; row += 3) {
      const sum = z.slice(row, row + 3).reduce((a, value) => a + Math.exp(value), 0);
      for (let i = row; i < row + 3; i++) total -= (targets[i] as number) * ((z[i] as number) - Math.log(sum));
    }
    return total / 2;
  };
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const { loss, gradient } = crossEntropy(tf, tf.tensor2d(logits, [2, 3]), tf.tensor2d(targets, [2, 3]));
    close(loss.dataSync(), [lossAt(logits)]);
    const numeric = logits.map((_, i) => {
      const moved = (by: number) => lossAt(logits.map((value, k) => (k === i ? value + by : value)));
      return (moved(1e-5) - moved(-1e-5)) / 2e-5;
    });
    close(gradient.dataSync(), numeric);
  });
  assert.equal(tf.memory().numTensors, before);
});

test('logits as large as float32 diverges with still give a finite loss', async () => {
  const { tf } = await anyBackend();
  tf.tidy(() => {
    const { loss } = crossEntropy(tf, tf.tensor2d([1e4, -1e4], [1, 2]), tf.tensor2d([0, 1], [1, 2]));
    close(loss.dataSync(), [2e4], 1);
  });
});
