import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { admits, bytesOfSteps, floorOf, keepFrom } from '../../stream/window.ts';
import { smallPlan } from './fixtures.ts';

const plan = smallPlan();
const first = 8 * 16 * 16 * 3;
const second = 4 * 24 * 24 * 3;
const trainer = (name: string, consumedStep: number, checkpointStep: number) => ({
  trainer: name,
  rank: 0,
  consumedStep,
  checkpointStep,
});
const range = fc.tuple(
  fc.integer({ min: -1, max: plan.steps - 1 }),
  fc.nat(plan.steps),
  fc.integer({ min: 1, max: 20 * first }),
);

describe('the window', () => {
  it('counts bytes over phases by the plan', () => {
    assert.equal(bytesOfSteps(plan, 0, plan.steps), 8 * first + 9 * second);
    assert.equal(bytesOfSteps(plan, 6, 10), 2 * first + 2 * second);
    assert.equal(bytesOfSteps(plan, 5, 5), 0);
  });

  it('starts at step 0 with no trainer, and follows the slowest', () => {
    assert.deepEqual(floorOf([]), { wanted: 0, checkpoint: 0, slowest: null });
    assert.deepEqual(floorOf([trainer('a', 9, 4), trainer('b', 6, 6)]), { wanted: 7, checkpoint: 4, slowest: 'b/0' });
  });

  it('admits what fits, and always the step that is wanted next', () => {
    const floor = floorOf([trainer('a', 1, 0)]);
    assert.deepEqual(
      [2, 3, 4].map((step) => admits(plan, floor, step, 2 * first)),
      [true, true, false],
    );
    assert.equal(admits(plan, floor, 2, 1), true);
  });

  it('never deletes a step that a trainer has yet to consume, and never keeps more than the window beyond it', () => {
    fc.assert(
      fc.property(range, ([consumed, head, window]) => {
        const floor = floorOf([trainer('a', consumed, 0)]);
        const keep = keepFrom(plan, floor, head, window);
        assert.ok(keep <= Math.min(head, consumed + 1));
        const kept = bytesOfSteps(plan, keep, head);
        assert.ok(kept <= window || keep === Math.min(head, consumed + 1));
        if (keep > 0)
          assert.ok(bytesOfSteps(plan, keep - 1, head) > window, 'deletes only as far as the window forces');
      }),
    );
  });
});
