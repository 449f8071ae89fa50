import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type AxisWeights, axisWeights, ONE, sinc, type WeightName } from '../../../preprocess/kernel/weights.ts';

const NAMES: readonly WeightName[] = ['lanczos3', 'bicubic', 'bilinear', 'area'];

const axis = fc
  .record({
    source: fc.integer({ min: 1, max: 3000 }),
    name: fc.constantFrom(...NAMES),
    granule: fc.constantFrom(2, 4),
  })
  .chain((rest) => fc.record({ ...constants(rest), target: fc.integer({ min: 1, max: rest.source }) }))
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
