import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mixedTargets } from '../../../trainer/methods/mixup/mixup.ts';
import { anyBackend } from '../backends.ts';

test('targets are the two classes by their shares; a partner of the same class adds up', async () => {
  const { tf } = await anyBackend();
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const labels = {
      labelA: Int32Array.of(0, 2, 1),
      labelB: Int32Array.of(3, 2, 0),
      lam: Float32Array.of(0.75, 0.75, 1),
    };
    assert.deepEqual([...mixedTargets(tf, labels, 4).dataSync()], [0.75, 0, 0, 0.25, 0, 0, 1, 0, 0, 1, 0, 0]);
  });
  assert.equal(tf.memory().numTensors, before);
});

test('whatever the labels and shares, each row is its definition, to the bit', async () => {
  const { tf } = await anyBackend();
  const classes = 6;
  const label = fc.integer({ min: 0, max: classes - 1 });
  // The stream's shares are multiples of 2⁻¹⁴, so that λ and 1 − λ are exact in float32.
  const share = fc.integer({ min: 0, max: 16384 }).map((count) => count / 16384);
  fc.assert(
    fc.property(fc.array(fc.tuple(label, label, share), { minLength: 1, maxLength: 6 }), (samples) => {
      const expected = samples.flatMap(([a, b, lam]) =>
        Array.from({ length: classes }, (_, k) => (k === a ? lam : 0) + (k === b ? 1 - lam : 0)),
      );
      const ours = tf.tidy(() => {
        const labels = {
          labelA: Int32Array.from(samples, ([a]) => a),
          labelB: Int32Array.from(samples, ([, b]) => b),
          lam: Float32Array.from(samples, ([, , lam]) => lam),
        };
        return mixedTargets(tf, labels, classes).dataSync();
      });
      assert.deepEqual([...ours], expected);
    }),
  );
});
