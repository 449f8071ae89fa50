import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type AxisWeights, axisWeights, ONE, sinc, type WeightName } from '../../../shards/resize/weights.ts';

const NAMES: readonly WeightName[] = ['lanczos3', 'bicubic', 'bilinear', 'area'];

const axis = fc
  .record({
    source: fc.integer({ min: 1, max: 3000 }),
    name: fc.constantFrom(...NAMES),
    granule: fc.constantFrom(2, 4),
  })
  .chain((rest) => fc.record({ ...constants(rest), target: fc.integer({ min: 1, max: 2 * rest.source }) }))
  .chain((rest) => fc.record({ ...constants(rest), offset: fc.integer({ min: 0, max: rest.target - 1 }) }))
  .chain((rest) => fc.record({ ...constants(rest), length: fc.integer({ min: 1, max: rest.target - rest.offset }) }));

function constants<T extends object>(record: T): { [K in keyof T]: fc.Arbitrary<T[K]> } {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, fc.constant(value)])) as {
    [K in keyof T]: fc.Arbitrary<T[K]>;
  };
}

const rowOf = ({ weights, taps }: AxisWeights, i: number): number[] => [...weights.subarray(i * taps, (i + 1) * taps)];

test("every output's weights sum to exactly one, and stay inside the source but for their padding", () => {
  fc.assert(
    fc.property(axis, ({ name, granule, ...of }) => {
      const made = axisWeights(name, of, granule);
      assert.equal(made.taps % granule, 0);
      for (let i = 0; i < of.length; i++) {
        const row = rowOf(made, i);
        assert.equal(
          row.reduce((a, b) => a + b),
          ONE,
        );
        const start = made.starts[i] as number;
        assert.ok(start >= 0 && start + made.taps <= Math.max(of.source, made.taps));
        for (let k = of.source - start; k < made.taps; k++) assert.equal(row[k], 0);
      }
    }),
  );
});

test('a part of the outputs has the weights that it has in the whole', () => {
  const whole = axisWeights('lanczos3', { source: 500, target: 213, offset: 0, length: 213 }, 4);
  const part = axisWeights('lanczos3', { source: 500, target: 213, offset: 26, length: 160 }, 4);
  for (let i = 0; i < 160; i++) {
    assert.equal(part.starts[i], whole.starts[i + 26]);
    assert.deepEqual(rowOf(part, i), rowOf(whole, i + 26));
  }
});

test('mirrored, the outputs come in reverse order; a longer table repeats the last of them', () => {
  const axis = { source: 30, target: 40, offset: 3, length: 20 };
  const plain = axisWeights('bilinear', axis, 2);
  const mirrored = axisWeights('bilinear', { ...axis, mirrored: true }, 2, 24);
  for (let i = 0; i < 24; i++) {
    const of = Math.max(0, 19 - i);
    assert.equal(mirrored.starts[i], plain.starts[of]);
    assert.deepEqual(rowOf(mirrored, i), rowOf(plain, of));
  }
});

test('where a side grows, an output lies between its two nearest pixels', () => {
  const made = axisWeights('bilinear', { source: 4, target: 8, offset: 0, length: 8 }, 2);
  assert.equal(made.taps, 2);
  assert.deepEqual([...made.starts], [0, 0, 0, 1, 1, 2, 2, 2]);
  const quarter = ONE / 4;
  assert.deepEqual(rowOf(made, 3), [3 * quarter, quarter]);
  assert.deepEqual(rowOf(made, 4), [quarter, 3 * quarter]);
  assert.deepEqual(rowOf(made, 7), [0, ONE]);
});

test('the same size is left alone, by every kernel', () => {
  for (const name of NAMES) {
    const { starts, weights, taps } = axisWeights(name, { source: 50, target: 50, offset: 0, length: 50 }, 2);
    for (let i = 0; i < 50; i++) assert.equal(weights[i * taps + i - (starts[i] as number)], ONE, `${name} ${i}`);
  }
});

test('area weighs each pixel by how much of it an output covers', () => {
  const rows = (source: number, target: number): number[][] => {
    const made = axisWeights('area', { source, target, offset: 0, length: target }, 2);
    return Array.from({ length: target }, (_, i) => rowOf(made, i));
  };
  assert.deepEqual(rows(4, 2), [
    [ONE / 2, ONE / 2],
    [ONE / 2, ONE / 2],
  ]);
  assert.deepEqual(
    rows(3, 2).map((row) => row.map((weight) => Math.round((3 * weight) / ONE))),
    [
      [2, 1, 0, 0],
      [0, 1, 2, 0],
    ],
  );
});

test('sinc agrees with the sine of the engine to 15 digits', () => {
  for (let x = -3; x <= 3; x += 1 / 64) {
    const expected = x === 0 ? 1 : Number.isInteger(x) ? 0 : Math.sin(Math.PI * x) / (Math.PI * x);
    assert.ok(Math.abs(sinc(x) - expected) < 1e-15, String(x));
  }
});
