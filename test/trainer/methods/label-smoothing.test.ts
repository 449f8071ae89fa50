import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crossEntropy, smoothed } from '../../../trainer/methods/label-smoothing/label-smoothing.ts';
import { mixedTargets } from '../../../trainer/methods/mixup/mixup.ts';
import { anyBackend } from '../backends.ts';

const close = (ours: ArrayLike<number>, theirs: readonly number[], tolerance = 1e-6) => {
  assert.equal(ours.length, theirs.length);
  theirs.forEach((value, i) => {
    assert.ok(Math.abs((ours[i] as number) - value) <= tolerance, `[${i}]: ${ours[i]}, not ${value}`);
  });
};

test('smoothing moves a share of a target, hard or soft, to all classes evenly; a row still sums to 1', async () => {
  const { tf } = await anyBackend();
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const targets = tf.tensor2d([0.75, 0, 0, 0.25, 0, 0, 1, 0], [2, 4]);
    close(smoothed(tf, targets, 0).dataSync(), [0.75, 0, 0, 0.25, 0, 0, 1, 0]);
    close(
      smoothed(tf, targets, 0.1).dataSync(),
      [0.75, 0, 0, 0.25, 0, 0, 1, 0].map((value) => 0.9 * value + 0.025),
    );
    close(smoothed(tf, targets, 0.1).sum(1).dataSync(), [1, 1]);
  });
  assert.equal(tf.memory().numTensors, before);
});

test('with mixed, smoothed targets the gradient equals finite differences of the loss by its definition', async () => {
  const { tf } = await anyBackend();
  const classes = 5;
  const labels = { labelA: Int32Array.of(0, 4, 2), labelB: Int32Array.of(3, 4, 1), lam: Float32Array.of(0.75, 0.5, 1) };
  const logits = Array.from({ length: 3 * classes }, (_, i) => Math.sin(7 * i) * 2);
  for (const smoothing of [0, 0.1, 0.5]) {
    /** Σ over samples of lam·CE(a) + (1 − lam)·CE(b), each (1 − s)·nll + s·mean nll as in PyTorch, over n. */
    const lossAt = (z: readonly number[]) => {
      let total = 0;
      for (let row = 0; row < 3; row++) {
        const own = z.slice(row * classes, (row + 1) * classes);
        const sum = Math.log(own.reduce((s, value) => s + Math.exp(value), 0));
        const nll = (label: number) => sum - (own[label] as number);
        const uniform = own.reduce((s, _, label) => s + nll(label) / classes, 0);
        const of = (label: number) => (1 - smoothing) * nll(label) + smoothing * uniform;
        const share = labels.lam[row] as number;
        total += share * of(labels.labelA[row] as number) + (1 - share) * of(labels.labelB[row] as number);
      }
      return total / 3;
    };
    tf.tidy(() => {
      const targets = smoothed(tf, mixedTargets(tf, labels, classes), smoothing);
      const { loss, gradient } = crossEntropy(tf, tf.tensor2d(logits, [3, classes]), targets);
      close(loss.dataSync(), [lossAt(logits)]);
      close(
        gradient.dataSync(),
        logits.map((_, i) => {
          const moved = (by: number) => lossAt(logits.map((value, k) => (k === i ? value + by : value)));
          return (moved(1e-5) - moved(-1e-5)) / 2e-5;
        }),
      );
    });
  }
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
