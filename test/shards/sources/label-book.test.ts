import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LabelBook } from '../../../shards/sources/label-book.ts';
import { fault } from './tars.ts';

test('classes may come in any order and any number of times, as long as labels follow the sorted names', () => {
  const wnids = fc.uniqueArray(fc.stringMatching(/^n\d{3}$/), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(wnids, fc.infiniteStream(fc.nat()), (names, draws) => {
      const sorted = [...names].sort();
      const book = new LabelBook(null);
      const order = [...sorted.keys()].map((label) => ({ label, key: draws.next().value ?? 0 }));
      for (const { label } of [...order.sort((a, b) => a.key - b.key), ...order])
        assert.equal(book.classOf(label, sorted[label], 'here'), sorted[label]);
      assert.deepEqual(book.endTrain(), { wnids: sorted, empty: 0 });
    }),
  );
});

test('a label of two classes, a class of two labels and labels out of order are refused with the place', () => {
  const book = new LabelBook(null);
  book.classOf(3, 'n3', 'a.tar: sample 1');
  assert.throws(() => book.classOf(3, 'n4', 'b.tar: sample 2'), fault('label-conflict', 'b.tar: sample 2', 'n3', 'n4'));
  assert.throws(() => book.classOf(4, 'n3', 'b.tar: sample 3'), fault('label-order', 'b.tar: sample 3', 'label 3'));
  assert.throws(() => book.classOf(2, 'n3', 'x'), fault('label-order'));
  assert.throws(() => book.classOf(2, 'n5', 'x'), fault('label-order'));
  assert.throws(() => book.classOf(9, 'n2', 'x'), fault('label-order'));
  assert.equal(book.classOf(3, undefined, 'x'), 'n3');
});

test('a label that train has not is refused in val; a gap in train too where classes have names of their own', () => {
  const book = new LabelBook(null);
  book.classOf(0, 'a', 'x');
  book.classOf(2, 'c', 'x');
  assert.throws(() => book.endTrain(), fault('missing-class', 'label 1'));
  const numbers = new LabelBook(null);
  numbers.classOf(2, undefined, 'x');
  assert.deepEqual(numbers.endTrain(), { wnids: ['00000', '00001', '00002'], empty: 2 });
  assert.equal(numbers.classOf(1, undefined, 'x'), '00001');
  assert.throws(() => numbers.classOf(3, undefined, 'val.tar: 7'), fault('unknown-class', 'val.tar: 7', 'label 3'));
});

test('the rows of classes.tsv name labels, fill gaps and say how many classes there are', () => {
  const book = new LabelBook(['ant', 'bee', 'cow', 'dog']);
  assert.equal(book.classOf(1, undefined, 'x'), 'bee');
  assert.throws(() => book.classOf(4, undefined, 'a.tar: 5'), fault('unknown-class', 'a.tar: 5', '4 rows'));
  assert.deepEqual(book.endTrain(), { wnids: ['ant', 'bee', 'cow', 'dog'], empty: 3 });
  const unsorted = new LabelBook(['bee', 'ant']);
  unsorted.classOf(0, undefined, 'x');
  assert.throws(() => unsorted.endTrain(), fault('label-order', 'ant', 'bee'));
});

test('no sample at all and a label that is no class number are refused', () => {
  assert.throws(() => new LabelBook(null).endTrain(), fault('no-classes'));
  assert.throws(() => new LabelBook(null).classOf(100_000, undefined, 'a.tar: 5'), fault('bad-label', 'a.tar: 5'));
});
