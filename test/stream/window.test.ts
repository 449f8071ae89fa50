import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { admits, bytesOfSteps, floorOf, keepFrom, unretainedPhase } from '../../stream/window.ts';
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

  it('tells of a phase that consumes more between two checkpoints than history keeps', () => {
    const found = (checkpointSteps: number, window: number) => unretainedPhase(plan, checkpointSteps, window)?.index;
    assert.deepEqual(
      [found(1000, 9 * second), found(1000, 9 * second - 1), found(1000, 4 * first - 1)],
      [undefined, 1, 0],
    );
    assert.deepEqual([found(2, 2 * second), found(2, 2 * second - 1)], [undefined, 1]);
  });

  it('deletes below the checkpoint beyond one window, above it beyond two, and never what is yet to be consumed', () => {
    fc.assert(
      fc.property(range, fc.nat(plan.steps), ([consumed, head, window], behind) => {
        const checkpoint = Math.max(0, consumed + 1 - behind);
        const keep = keepFrom(plan, floorOf([trainer('a', consumed, checkpoint)]), head, window);
        const last = Math.min(head, consumed + 1);
        assert.ok(keep <= last);
        const bytesKept = (from: number) => bytesOfSteps(plan, from, head);
        assert.ok(bytesKept(keep) <= 2 * window || keep === last, 'no more than two windows, but for what is wanted');
        if (keep <= checkpoint) assert.ok(bytesKept(keep) <= window || keep === Math.min(checkpoint, head));
        if (keep > 0)
          assert.ok(bytesKept(keep - 1) > (keep > checkpoint ? 2 * window : window), 'only as far as forced');
      }),
    );
  });
});
