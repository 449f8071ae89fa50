import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TreeSum } from '../../trainer/tree-sum.ts';
import { anyBackend } from './backends.ts';

/** The sum that the tree stands for: the largest power of two of terms to the left, the rest to the right. */
function reference(terms: readonly number[]): number {
  if (terms.length === 1) return Math.fround(terms[0] as number);
  let left = 1;
  while (2 * left < terms.length) left *= 2;
  return Math.fround(reference(terms.slice(0, left)) + reference(terms.slice(left)));
}

test('the additions form a fixed binary tree, to the last bit, and nothing is left behind', async () => {
  const { tf } = await anyBackend();
  // Thirds are never exact, so that another order shows; no denormals, which TensorFlow flushes to zero.
  const term = fc.integer({ min: -1_000_000, max: 1_000_000 }).map((n) => Math.fround(n / 3));
  fc.assert(
    fc.property(fc.array(term, { minLength: 1, maxLength: 20 }), (terms) => {
      const before = tf.memory().numTensors;
      const tree = new TreeSum(tf);
      for (const term of terms) tree.push({ a: tf.tensor1d([term]) });
      const sum = tree.take();
      assert.equal((sum['a']?.dataSync() ?? [])[0], reference(terms));
      tf.dispose(sum);
      assert.equal(tf.memory().numTensors, before);
    }),
    { numRuns: 50 },
  );
});

test('at most log2(n) + 1 partial sums live at once', async () => {
  const { tf } = await anyBackend();
  const before = tf.memory().numTensors;
  const tree = new TreeSum(tf);
  for (let n = 1; n <= 32; n++) {
    tree.push({ a: tf.tensor1d([n]) });
    assert.ok(tf.memory().numTensors - before <= Math.floor(Math.log2(n)) + 1, `${n} terms`);
  }
  const sum = tree.take();
  assert.equal((sum['a']?.dataSync() ?? [])[0], 528);
  tf.dispose(sum);
});

test('parts of the terms, added up wherever they end, give the nodes of the same tree', async () => {
  const { tf } = await anyBackend();
  const before = tf.memory().numTensors;
  for (let terms = 1; terms <= 24; terms++)
    for (let parts = 1; parts <= terms; parts++) {
      if (terms % parts !== 0) continue;
      const values = Array.from({ length: terms }, (_, i) => Math.fround((7 * i ** 3 - 1000) / 3));
      const each = terms / parts;
      const whole = new TreeSum(tf);
      for (let part = 0; part < parts; part++) {
        const tree = new TreeSum(tf, part * each);
        for (const value of values.slice(part * each, (part + 1) * each)) tree.push({ a: tf.tensor1d([value]) });
        const counts = TreeSum.nodesOf(part * each, each);
        const nodes = tree.takeNodes();
        assert.equal(nodes.length, counts.length, `${terms} terms, part ${part} of ${parts}`);
        nodes.forEach((node, i) => {
          whole.push(node, counts[i]);
        });
      }
      const sum = whole.take();
      assert.equal((sum['a']?.dataSync() ?? [])[0], reference(values), `${terms} terms in ${parts} parts`);
      tf.dispose(sum);
    }
  assert.equal(tf.memory().numTensors, before);
});
