import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  CHUNK_PIXEL_BYTES,
  checkStepBound,
  chunkSizes,
  firstDifference,
  imageBytes,
  placeOf,
  planHashOf,
  resolvePlan,
  trainHashOf,
  valRange,
} from '../../stream/plan.ts';
import { smallPlan, smallRecipe } from './fixtures.ts';

describe('a plan', () => {
  it('drops an epoch’s incomplete last step and says how many samples', () => {
    const [first, second] = smallPlan().phases;
    assert.deepEqual([first?.stepsPerEpoch, first?.dropped], [4, 5]);
    assert.deepEqual([second?.firstStep, second?.firstEpoch, second?.stepsPerEpoch, second?.dropped], [8, 2, 9, 1]);
    assert.equal(smallPlan().steps, 17);
  });

  it('places every step in its phase and epoch', () => {
    const plan = smallPlan();
    const places = Array.from({ length: plan.steps }, (_, step) => placeOf(plan, step));
    assert.deepEqual(
      places.map(({ phase, epoch, stepInEpoch }) => `${phase.index}/${epoch}/${stepInEpoch}`),
      [
        '0/0/0',
        '0/0/1',
        '0/0/2',
        '0/0/3',
        '0/1/0',
        '0/1/1',
        '0/1/2',
        '0/1/3',
        ...[0, 1, 2, 3, 4, 5, 6, 7, 8].map((i) => `1/2/${i}`),
      ],
    );
    assert.throws(() => placeOf(plan, 17), RangeError);
    assert.throws(() => placeOf(plan, -1), RangeError);
  });

  it('has no MixUp and a centre crop in a FixRes phase', () => {
    const [first, last] = smallPlan().phases;
    assert.deepEqual([first?.crop, first?.mixup, last?.crop, last?.mixup], ['random-resized', 0.2, 'centre', 0]);
  });

  it('refuses a batch larger than the dataset and MixUp without pairs', () => {
    assert.throws(() => smallPlan({}, { train: 7, val: 1 }), { code: 'batch-exceeds-dataset' });
    assert.throws(() => smallPlan({ lanes: 4, phases: [{ resolution: 16, epochs: 1, batch: 4 }] }), {
      code: 'mixup-needs-pairs',
    });
    assert.equal(smallPlan({ lanes: 4, mixup: false, phases: [{ resolution: 16, epochs: 1, batch: 4 }] }).steps, 9);
  });

  it('refuses a bound in bytes that has no room for a step of every lane', () => {
    const plan = smallPlan();
    const largest = 4 * 24 * 24 * 3;
    checkStepBound(plan, largest, '--memory');
    assert.throws(() => checkStepBound(plan, largest - 1, '--memory'), { code: 'bound-too-small', exit: 2 });
  });

  it('cuts a slice into as few chunks as fit, that differ by at most one, larger first', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), fc.constantFrom(48, 128, 224, 288, 600), (n, resolution) => {
        const sizes = chunkSizes(n, resolution);
        const cap = Math.max(1, Math.floor(CHUNK_PIXEL_BYTES / imageBytes(resolution)));
        assert.equal(
          sizes.reduce((a, b) => a + b, 0),
          n,
        );
        assert.ok(sizes.every((size) => size >= 1 && size <= cap));
        assert.equal(sizes.length, Math.ceil(n / cap));
        assert.ok((sizes[0] ?? 0) - (sizes.at(-1) ?? 0) <= 1);
        assert.deepEqual(
          sizes,
          [...sizes].sort((a, b) => b - a),
        );
      }),
    );
    assert.deepEqual(
      [128, 224, 288].map((r) => Math.floor(CHUNK_PIXEL_BYTES / imageBytes(r))),
      [20, 6, 4],
    );
  });

  it('shares the val split among the lanes with nothing dropped', () => {
    const plan = smallPlan({ lanes: 2 }, { train: 37, val: 5 });
    assert.deepEqual(
      [valRange(plan, 0), valRange(plan, 1)],
      [
        { begin: 0, end: 2 },
        { begin: 2, end: 5 },
      ],
    );
  });

  it('changes its hash with what the bytes depend on, and only with that', () => {
    const base = planHashOf(smallPlan());
    for (const change of [
      { seed: 1 },
      { lanes: 1 },
      { orderWindow: 2 },
      { mixup: { alpha: 0.3 } },
      { augmentation: { flip: 0.4 } },
      { evaluation: { cropRatio: 1 } },
      { phases: [{ resolution: 16, epochs: 2, batch: 8 }] },
    ])
      assert.notEqual(planHashOf(smallPlan(change)), base, JSON.stringify(change));
    const otherTraining = {
      optimizer: { lr: 0.2, weightDecay: 0.1 },
      labelSmoothing: 0.1,
      sam: { rho: 0.1 },
      name: 'other',
    };
    assert.equal(planHashOf(smallPlan(otherTraining)), base);
    assert.notEqual(trainHashOf(smallRecipe(otherTraining)), trainHashOf(smallRecipe()));
    for (const change of [
      { ema: { halfLifeImages: 100 } },
      { clip: { norm: 1 } },
      { optimizer: { lr: 0.1, weightDecay: 0, schedule: 'linear' } },
    ]) {
      assert.equal(planHashOf(smallPlan(change)), base);
      assert.notEqual(trainHashOf(smallRecipe(change)), trainHashOf(smallRecipe()), JSON.stringify(change));
    }
    assert.equal(trainHashOf(smallRecipe({ seed: 5, lanes: 1, name: 'x' })), trainHashOf(smallRecipe()));
  });

  it('names the first key that differs between two plans', () => {
    const other = resolvePlan(smallRecipe({ seed: 3 }), smallPlan().dataset);
    assert.deepEqual(firstDifference(smallPlan(), other, 'plan'), { key: 'plan.seed', ours: '0', theirs: '3' });
    assert.equal(firstDifference(smallPlan(), smallPlan()), null);
    assert.equal(firstDifference({ a: [1, 2] }, { a: [1] })?.key, 'a.1');
  });
});
