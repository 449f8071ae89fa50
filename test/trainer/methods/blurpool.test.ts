import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '#shards';
import { binomialFilter, blurMatrix } from '../../../trainer/methods/blurpool/blurpool.ts';

test('the filters are the rows of Pascal’s triangle, over their sum', () => {
  const rows: Record<number, number[]> = {
    2: [1, 1],
    3: [1, 2, 1],
    4: [1, 3, 3, 1],
    5: [1, 4, 6, 4, 1],
    6: [1, 5, 10, 10, 5, 1],
    7: [1, 6, 15, 20, 15, 6, 1],
  };
  for (const [size, row] of Object.entries(rows))
    assert.deepEqual(
      [...binomialFilter(Number(size))],
      row.map((value) => value / 2 ** (Number(size) - 1)),
    );
});

test('the matrix is reflect padding, then the filter at every second place', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 7 }), fc.integer({ min: 4, max: 20 }), (size, length) => {
      const signal = Array.from({ length }, (_, i) => Math.sin(3 * i) + i);
      const before = signal.slice(1, 1 + Math.floor((size - 1) / 2)).reverse();
      const after = signal.slice(length - 1 - Math.ceil((size - 1) / 2), length - 1).reverse();
      const padded = [...before, ...signal, ...after];
      const filter = binomialFilter(size);
      const expected: number[] = [];
      for (let start = 0; start + size <= padded.length; start += 2)
        expected.push(filter.reduce((sum, tap, i) => sum + tap * (padded[start + i] as number), 0));
      const { values, rows, columns } = blurMatrix(length, size, 2);
      assert.deepEqual([rows, columns], [expected.length, length]);
      expected.forEach((value, row) => {
        const ours = signal.reduce((sum, x, i) => sum + x * (values[row * columns + i] as number), 0);
        assert.ok(Math.abs(ours - value) < 1e-5);
      });
    }),
  );
});

test('a reflection that would reach past the axis is refused', () => {
  assert.doesNotThrow(() => blurMatrix(3, 4, 2));
  assert.throws(
    () => blurMatrix(2, 4, 2),
    (error) => error instanceof Fault && error.code === 'blur-too-small',
  );
});
