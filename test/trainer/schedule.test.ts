import assert from 'node:assert/strict';
import { test } from 'node:test';
import { learningRate, type ScheduleRecipe } from '#trainer';

/** `medium`'s shape: 10 + 75 epochs, then 5 of FixRes; warm-up 5. */
const MEDIUM: ScheduleRecipe = {
  phases: [
    { epochs: 10, batch: 4096 },
    { epochs: 75, batch: 2560 },
    { epochs: 5, batch: 2048, fixres: { lr: 1e-3, lrPerBatch: 512 } },
  ],
  optimizer: { lr: 0.1, lrPerBatch: 256, warmupEpochs: 5, schedule: 'cosine' },
};
const cosine = (share: number) => (1 + Math.cos(Math.PI * share)) / 2;

test('warm-up, cosine, the batch’s factor and FixRes, point by point', () => {
  const table: [phase: number, share: number, expected: number][] = [
    [0, 0, 0],
    [0, 0.1, 1.6 * 0.2],
    [0, 0.25, 1.6 * 0.5],
    [0, 0.5, 1.6],
    [0, 0.9, 1.6 * cosine(4 / 80)],
    [1, 0, 1.0 * cosine(5 / 80)],
    [1, 35 / 75, 1.0 * cosine(40 / 80)],
    [1, 1, 0],
    [2, 0, 4e-3],
    [2, 0.5, 2e-3],
    [2, 1, 0],
  ];
  for (const [phase, share, expected] of table)
    assert.ok(Math.abs(learningRate(MEDIUM, phase, share) - expected) < 1e-12, `phase ${phase} at ${share}`);
});

test('without a warm-up the rate starts at its full height', () => {
  const recipe = { ...MEDIUM, optimizer: { ...MEDIUM.optimizer, warmupEpochs: 0 } };
  assert.equal(learningRate(recipe, 0, 0), 1.6);
});

test('a warm-up may reach into the second phase', () => {
  const recipe = { ...MEDIUM, optimizer: { ...MEDIUM.optimizer, warmupEpochs: 20 } };
  assert.ok(Math.abs(learningRate(recipe, 1, 5 / 75) - 1.0 * 0.75) < 1e-12);
});

test('a warm-up as long as the run rises to its end', () => {
  const recipe = { ...MEDIUM, optimizer: { ...MEDIUM.optimizer, warmupEpochs: 85 } };
  assert.ok(learningRate(recipe, 1, 0.999) < 1);
  assert.equal(learningRate(recipe, 1, 1), 1);
});
