// Reports beside the steps: one at a time, the newest step, and a failure that is told.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Reporting } from '../../trainer/reporting.ts';

/** A writer whose reports end when the test says so. */
function writer() {
  const steps: number[] = [];
  let begun = () => {};
  let end: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  return {
    steps,
    /** Resolves when the next report begins. */
    next: () => new Promise<void>((resolve) => (begun = resolve)),
    ended: (error?: unknown) => (error ? end?.reject(error) : end?.resolve()),
    write: (step: number) => {
      steps.push(step);
      begun();
      return new Promise<void>((resolve, reject) => {
        end = { resolve, reject };
      });
    },
  };
}

test('while one report is under way none begins; the next tells the newest step', async () => {
  const state = { step: 3 };
  const { steps, next, ended, write } = writer();
  const reporting = new Reporting({ state, feed: { waiting: true }, write });
  const first = next();
  state.step = 4;
  await first;
  state.step = 6;
  const second = next();
  ended();
  await second;
  ended();
  await reporting.finish();
  assert.deepEqual(steps, [4, 6]);
});

test('a report that fails aborts with its error, and is the last', async () => {
  const state = { step: 0 };
  const { steps, next, ended, write } = writer();
  const reporting = new Reporting({ state, feed: { waiting: true }, write });
  const first = next();
  state.step = 1;
  await first;
  const failed = once(reporting.failure, 'abort');
  const gone = new Error('the log is gone');
  ended(gone);
  await failed;
  state.step = 2;
  assert.equal(reporting.failure.reason, gone);
  await assert.rejects(reporting.finish(), gone);
  assert.deepEqual(steps, [1]);
});
