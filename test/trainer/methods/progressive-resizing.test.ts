import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRecipe, placeOf, resolvePlan } from '#stream';
import { phaseShare, resolutionSwitches } from '#trainer';

const recipe = parseRecipe(
  {
    name: 'r',
    lanes: 1,
    phases: [
      { resolution: 32, epochs: 2, batch: 4 },
      { resolution: 32, epochs: 1, batch: 2 },
      { resolution: 48, epochs: 1, batch: 4, fixres: {} },
    ],
    optimizer: { lr: 0.1, weightDecay: 0 },
  },
  'test',
);
const plan = resolvePlan(recipe, { sha256: '0'.repeat(64), counts: { train: 9, val: 1 } });

test('a step’s share of its phase runs from 0 towards 1 and starts again with each phase', () => {
  const shares = Array.from({ length: plan.steps }, (_, step) => phaseShare(placeOf(plan, step)));
  assert.deepEqual(shares, [0, 0.25, 0.5, 0.75, 0, 0.25, 0.5, 0.75, 0, 0.5]);
});

test('only a change of resolution is a switch', () => {
  assert.deepEqual(resolutionSwitches(plan), [{ step: 8, from: 32, to: 48 }]);
});
