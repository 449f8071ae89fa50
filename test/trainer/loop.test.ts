// The loop that waits: aloud, and no longer than it may.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { untilAborted } from '#stream';
import { createState, disposeState, loadBackend } from '#trainer';
import { endsEpoch, train } from '../../trainer/loop.ts';
import { ALONE } from '../../trainer/ranks/exchange.ts';
import { smallPlan, smallRecipe } from '../stream/fixtures.ts';
import { smallModel } from './training.ts';

test('a wait for data is told after 10 s and then every minute, until it ends', async () => {
  const backend = await loadBackend('wasm');
  const model = smallModel();
  const state = createState(backend, model, 0);
  const stop = new AbortController();
  const told: number[] = [];
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const ended = train({
      feed: { next: () => new Promise(() => {}), waitMs: 0 },
      plan: smallPlan(),
      recipe: smallRecipe(),
      backend,
      model,
      state,
      exchange: ALONE,
      meet: (_, batch) => untilAborted(batch, stop.signal),
      onWait: (step) => told.push(step),
      onStep: async () => assert.fail('no step was given'),
      onEpoch: async () => assert.fail('no step was given'),
    });
    const toldAfter = (ms: number) => {
      mock.timers.tick(ms);
      return told.length;
    };
    assert.deepEqual([9_999, 1, 59_999, 1, 60_000].map(toldAfter), [0, 1, 1, 2, 3]);
    stop.abort();
    await ended;
    assert.equal(toldAfter(600_000), 3);
    assert.deepEqual(told, [0, 0, 0]);
  } finally {
    mock.timers.reset();
    disposeState(backend, state);
  }
});

test('the last step of each epoch ends it', () => {
  const plan = smallPlan();
  const ends = Array.from({ length: plan.steps }, (_, step) => step).filter((step) => endsEpoch(plan, step));
  assert.deepEqual(ends, [3, 7, 16]);
});
