// The learning rate beside timm's and PyTorch's schedulers, step by step (test/fixtures/schedules).

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { suite, test } from 'node:test';
import { parseRecipe, placeOf, resolvePlan } from '#stream';
import { learningRate, phaseShare, type ScheduleRecipe } from '#trainer';
import { milestoneFactor, scheduleFactor, warmUp } from '../../../trainer/methods/schedule/schedule.ts';

interface Tables {
  readonly lr: number;
  readonly epochs: readonly number[];
  readonly tables: readonly {
    readonly by: 'timm' | 'torch';
    readonly schedule: ScheduleRecipe['optimizer']['schedule'];
    readonly warmupEpochs: number;
    /** Of one phase, where the table is of another run than the rest. */
    readonly epochs?: number;
    readonly rows: readonly (readonly [phase: number, share: number, rate: number])[];
  }[];
}

const { lr, epochs, tables }: Tables = JSON.parse(
  await readFile(new URL('../../../../test/fixtures/schedules/schedules.json', import.meta.url), 'utf8'),
);

suite('the learning rate is that of', () => {
  assert.equal(tables.length, 10);
  for (const { by, schedule, warmupEpochs, epochs: own, rows } of tables)
    test(`${by}: ${JSON.stringify(schedule)}, warm-up ${warmupEpochs}, ${rows.length} steps`, () => {
      const phases = (own ? [own] : epochs).map((length) => ({ epochs: length, batch: 8 }));
      const recipe: ScheduleRecipe = { phases, optimizer: { lr, lrPerBatch: 8, warmupEpochs, schedule } };
      for (const [phase, share, rate] of rows) {
        const ours = learningRate(recipe, phase, share);
        assert.ok(Math.abs(ours - rate) < 1e-12, `phase ${phase} at ${share}: ${ours}, not ${rate}`);
      }
    });
});

test('the schedule spans the ordinary phases, and a FixRes phase has its own', () => {
  const phases = [
    { epochs: 3, batch: 8 },
    { epochs: 5, batch: 16 },
    { epochs: 4, batch: 8, fixres: { lr: 0.01, lrPerBatch: 8 } },
  ];
  const optimizer = { lr, lrPerBatch: 8, warmupEpochs: 2, schedule: 'linear' as const };
  const rates = [
    [0, 0, 0],
    [0, 1 / 3, lr / 2],
    [0, 2 / 3, lr],
    // A batch twice as large: twice the rate.
    [1, 0, 2 * lr * (5 / 6)],
    [1, 1, 0],
    [2, 0.5, 0.005],
  ] as const;
  for (const [phase, share, rate] of rates)
    assert.ok(Math.abs(learningRate({ phases, optimizer }, phase, share) - rate) < 1e-12, `phase ${phase} at ${share}`);
});

test('a milestone is reached at the first step of its epoch, in every plan', () => {
  for (const [epochs, train] of [
    [54, 84],
    [85, 700],
    [90, 5000],
  ] as const) {
    const plan = resolvePlan(
      parseRecipe(
        {
          name: 'r',
          lanes: 1,
          phases: [{ resolution: 32, epochs, batch: 16 }],
          optimizer: { lr: 1, weightDecay: 0 },
        },
        'a test',
      ),
      { sha256: '0'.repeat(64), counts: { train, val: 1 } },
    );
    for (let step = 0; step < plan.steps; step++) {
      const place = placeOf(plan, step);
      const epoch = phaseShare(place) * epochs;
      assert.equal(milestoneFactor(epoch, [place.epoch, place.epoch + 1], 0.5), 0.5, `step ${step} at epoch ${epoch}`);
    }
  }
});

test('a warm-up as long as the run rises to its end', () => {
  for (const schedule of ['cosine', 'linear'] as const) {
    assert.equal(scheduleFactor(schedule, 3, { warmupEpochs: 4, epochs: 4 }), 0.75);
    assert.equal(scheduleFactor(schedule, 4, { warmupEpochs: 4, epochs: 4 }), 1);
  }
  assert.deepEqual([warmUp(0, 0), warmUp(1, 4), warmUp(9, 4)], [1, 0.25, 1]);
});

test('milestones that would do nothing are refused', () => {
  const recipe = (milestones: number[], warmupEpochs = 0) =>
    parseRecipe(
      {
        name: 'r',
        lanes: 1,
        phases: [
          { resolution: 32, epochs: 8, batch: 16 },
          { resolution: 32, epochs: 2, batch: 16, fixres: {} },
        ],
        optimizer: { lr: 1, weightDecay: 0, warmupEpochs, schedule: { milestones } },
      },
      'a test',
    );
  assert.deepEqual(recipe([2, 5.5, 7]).optimizer.schedule, { milestones: [2, 5.5, 7], factor: 0.1 });
  for (const [milestones, warmup] of [
    [[5, 2], 0],
    [[2, 2], 0],
    [[1, 5], 2],
    [[4, 8], 0],
  ] as const)
    assert.throws(() => recipe([...milestones], warmup), { code: 'recipe-milestones', exit: 2 });
});
