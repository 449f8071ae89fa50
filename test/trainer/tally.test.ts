// Losses by phase, and what is not known of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PhaseTally } from '../../trainer/tally.ts';
import { smallPlan } from '../stream/fixtures.ts';

/** Two epochs of 4 steps, then one of 9. */
const plan = smallPlan();
const tallied = (steps: readonly number[]) => {
  const tally = new PhaseTally(plan, (resolution) => `run.train.${resolution}`);
  for (const step of steps) {
    const phase = plan.phases.findLast(({ firstStep }) => firstStep <= step) ?? plan.phases[0];
    assert.ok(phase);
    const epoch = phase.firstEpoch + Math.floor((step - phase.firstStep) / phase.stepsPerEpoch);
    tally.add({ step, epoch, loss: step, samples: phase.batch }, step < 2 ? null : 500);
  }
  return tally.result();
};
const all = Array.from({ length: plan.steps }, (_, step) => step);

test('means over the first and the last epoch; rates over the steps of this process', () => {
  const { firstLoss, finalLoss, phases } = tallied(all);
  assert.deepEqual(
    [firstLoss, phases[0]?.lastLoss, phases[1]?.firstLoss, finalLoss],
    [(0 + 1 + 2 + 3) / 4, (4 + 5 + 6 + 7) / 4, 12, 12],
  );
  assert.deepEqual(
    phases.map(({ imagesPerSecond }) => imagesPerSecond),
    [16, 8],
  );
});

test('an epoch of which a step is missing has no mean', () => {
  assert.equal(tallied(all.slice(1)).firstLoss, null);
  assert.equal(tallied(all.slice(0, -1)).finalLoss, null);
  assert.deepEqual(
    tallied([]).phases.map(({ firstLoss, lastLoss }) => [firstLoss, lastLoss]),
    [
      [null, null],
      [null, null],
    ],
  );
});
