// The loop that waits: aloud, and no longer than it may.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { parseRecipe, resolvePlan, untilAborted } from '#stream';
import { createState, disposeState, loadBackend, type TrainState } from '#trainer';
import { endsEpoch, train } from '../../trainer/loop.ts';
import { ALONE } from '../../trainer/ranks/exchange.ts';
import { smallPlan, smallRecipe } from '../stream/fixtures.ts';
import { anyBackend } from './backends.ts';
import { noiseBatch, RESOLUTION, smallModel, valuesOf } from './training.ts';

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

test('FixRes starts with fresh momentum and an average of the live weights; other phases change neither', async () => {
  const backend = await anyBackend();
  const model = smallModel();
  const phase = { resolution: RESOLUTION, epochs: 1, batch: 4 };
  const recipe = parseRecipe(
    {
      name: 'r',
      lanes: 1,
      phases: [phase, phase, { ...phase, fixres: { lr: 0.1, lrPerBatch: 4 } }],
      optimizer: { lr: 0.05, lrPerBatch: 4, weightDecay: 0 },
      ema: { halfLifeImages: 8 },
    },
    'a test',
  );
  const plan = resolvePlan(recipe, { sha256: '0'.repeat(64), counts: { train: 8, val: 1 } });
  const before = backend.tf.memory().numTensors;
  const state = createState(backend, model, 0, { average: true });
  const snapshot = ({ weights, slots, average }: TrainState) =>
    structuredClone({
      weights: valuesOf(weights),
      slots: valuesOf(slots),
      average: valuesOf(average?.weights ?? assert.fail('no average')),
    });
  const after = [snapshot(state)];
  await train({
    feed: {
      next: async () => {
        const { step } = state;
        if (step === plan.steps) return null;
        const { images, labelA, labelB, lam, samples } = noiseBatch(step);
        const labels = {
          labelA: Int32Array.from(labelA),
          labelB: Int32Array.from(labelB),
          lam: Float32Array.from(lam),
        };
        return { step, writtenAt: 0, groups: [{ ...labels, samples, images: Buffer.concat(images) }] };
      },
      waitMs: 0,
    },
    plan,
    recipe,
    backend,
    model,
    state,
    exchange: ALONE,
    meet: (_, batch) => batch,
    onWait: () => {},
    onStep: async () => void after.push(snapshot(state)),
    onEpoch: async () => {},
  });
  assert.equal(after.length, 7);
  const at = (step: number) => after[step] ?? assert.fail(`no step ${step}`);
  const [frozen, trained] = ['conv1.weight', 'fc.weight'];
  const zero = (values: Float32Array | undefined) => values?.every((value) => value === 0);
  // The second phase's first step, 2, goes on with both.
  assert.notDeepEqual(at(3).average[frozen], at(3).weights[frozen]);
  assert.equal(zero(at(3).slots[frozen]), false);
  // The FixRes phase's first step is 4: it left the weights that it freezes as the average has them now.
  assert.notDeepEqual(at(4).average[frozen], at(4).weights[frozen]);
  for (const step of [5, 6]) {
    assert.deepEqual(at(step).weights[frozen], at(4).weights[frozen]);
    assert.deepEqual(at(step).average[frozen], at(4).weights[frozen]);
    assert.equal(zero(at(step).slots[frozen]), true);
  }
  const share = 0.5 ** (4 / 8);
  at(5).average[trained]?.forEach((value, i) => {
    const [from, to] = [at(4).weights[trained]?.[i] as number, at(5).weights[trained]?.[i] as number];
    assert.ok(Math.abs(value - (share * from + (1 - share) * to)) < 1e-6);
  });
  disposeState(backend, state);
  assert.equal(backend.tf.memory().numTensors, before);
});
