// The parts of `ops bench recipe`: rows switch off what they say and nothing else; statistics with known figures.

import assert from 'node:assert/strict';
import { stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { loadRecipe, planHashOf, type Recipe, resolvePlan, withSettings } from '#stream';
import { rowsOf, WHOLE } from '../../../ops/bench/recipe-rows.ts';
import { parityOf, rowScores, wordOf } from '../../../ops/bench/recipe-scores.ts';
import { equalWithin2, pairedDifference, spread, wilson } from '../../../ops/bench/recipe-statistics.ts';
import { earlierTrainings, keepTraining, type Training } from '../../../ops/bench/recipe-trainings.ts';
import { temporaryFolder } from '../../packed.ts';

const near = (actual: number, expected: number, tolerance = 5e-4) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual}, not ${expected}`);

const quickstart = await loadRecipe('quickstart');
const [small = { resolution: 0 }, middle = { resolution: 0 }, last = { resolution: 0, epochs: 0, batch: 0 }] =
  quickstart.phases;
const { fixres: _, ...ordinary } = last as Recipe['phases'][number];

/** What each row leaves of the recipe, key by key. */
const CHANGES: Readonly<Record<string, Partial<Recipe>>> = {
  [WHOLE]: {},
  'without BlurPool': { model: { ...quickstart.model, blurpool: false } },
  'without SAM': { sam: false },
  'without label smoothing': { labelSmoothing: 0 },
  'without warm-up': { optimizer: { ...quickstart.optimizer, warmupEpochs: 0 } },
  'without zero-init gamma': { model: { ...quickstart.model, zeroInitGamma: false } },
  'with EMA': { ema: { halfLifeImages: 160 } },
  'without MixUp': { mixup: false },
  'without random crops': { augmentation: { ...quickstart.augmentation, scale: [1, 1], ratio: [1, 1] } },
  'without progressive resizing': {
    phases: quickstart.phases.map((phase) => ({ ...phase, resolution: last.resolution })),
  },
  'without FixRes': { phases: [small, middle, ordinary] as Recipe['phases'] },
};

it('each row switches one method of the quickstart off, and leaves the rest as it is', () => {
  const rows = rowsOf(quickstart);
  assert.deepEqual(
    rows.map(({ name }) => name),
    Object.keys(CHANGES),
  );
  for (const { name, stream, train } of rows)
    assert.deepEqual(withSettings(quickstart, [...stream, ...train]), { ...quickstart, ...CHANGES[name] }, name);
});

it('rows that set nothing of the stream share it, the others have one each', () => {
  const dataset = { sha256: '0'.repeat(64), counts: { train: 84, val: 18 } };
  const hash = (settings: readonly string[]) => planHashOf(resolvePlan(withSettings(quickstart, settings), dataset));
  const rows = rowsOf(quickstart);
  for (const { train, name } of rows) assert.equal(hash(train), hash([]), name);
  const others = rows.filter(({ stream }) => stream.length > 0);
  assert.equal(new Set([[], ...others.map(({ stream }) => stream)].map(hash)).size, others.length + 1);
});

it('a recipe has no row for a method that it does without, and one without EMA where it has that', () => {
  const bare = withSettings(quickstart, [
    ...['model.blurpool=false', 'model.zeroInitGamma=false', 'sam=false', 'labelSmoothing=0', 'mixup=false'],
    ...['optimizer.warmupEpochs=0', 'augmentation.scale=[1, 1]', 'ema={halfLifeImages: 100}'],
    'phases=[{resolution: 48, epochs: 1, batch: 16}]',
  ]);
  assert.deepEqual(
    rowsOf(bare).map(({ name }) => name),
    [WHOLE, 'without EMA'],
  );
});

it('mean, deviation, standard error and Wilson’s interval are the textbooks’', () => {
  const { mean, std, standardError } = spread([2, 4, 4, 4, 5, 5, 7, 9]);
  assert.equal(mean, 5);
  near(std, Math.sqrt(32 / 7), 1e-12);
  near(standardError, Math.sqrt(32 / 7 / 8), 1e-12);
  assert.equal(spread([3]).std, 0);
  const [low, high] = wilson(15 / 18, 18);
  near(low, 0.6078);
  near(high, 0.9416);
  const [none, some] = wilson(0, 10);
  near(none, 0, 1e-12);
  near(some, 0.2775);
});

it('a difference counts beyond Student’s t of its standard errors, seed by seed', () => {
  // Mean 1, standard error √(2.5 / 5) = 0.7071, t₀.₉₇₅(4) = 2.776: 1 < 1.963.
  const noise = pairedDifference([2, 3, 4, 5, 6], [3, 3, 3, 3, 3]);
  near(noise.mean, 1, 1e-12);
  near(noise.standardError, Math.SQRT1_2, 1e-12);
  assert.equal(noise.verdict, 'within noise');
  const shifted = (by: number) => pairedDifference([2 + by, 3 + by, 4 + by, 5 + by, 6 + by], [3, 3, 3, 3, 3]).verdict;
  assert.deepEqual([0.96, 0.97, -2.96, -2.97].map(shifted), ['within noise', 'higher', 'within noise', 'lower']);
  // What the seeds share is no noise: each pair differs by the same.
  assert.equal(pairedDifference([1.1, 5.1, 9.1], [1, 5, 9]).verdict, 'higher');
  assert.equal(pairedDifference([4, 4], [4, 4]).verdict, 'within noise');
  assert.equal(pairedDifference([1], [2]).verdict, null);
  assert.throws(() => pairedDifference([1, 2], [1]), /make no pairs/);
});

it('two means are equal within 2 standard errors of their difference', () => {
  // Each of variance 2.5 and n 5, so the difference has a standard error of 1.
  const equal = (by: number) => equalWithin2([1, 2, 3, 4, 5], [1 + by, 2 + by, 3 + by, 4 + by, 5 + by]);
  near(equal(0).standardError, 1, 1e-12);
  assert.deepEqual(
    [1.99, -1.99, 2.01, -2.01].map((by) => equal(by).equal),
    [true, true, false, false],
  );
});

it('a higher loss is worse and a higher share of right answers better', () => {
  assert.deepEqual(
    [
      wordOf('higher', 'valLoss'),
      wordOf('lower', 'trainLoss'),
      wordOf('higher', 'valTop1'),
      wordOf('lower', 'trainTop1'),
    ],
    ['worse', 'better', 'better', 'worse'],
  );
  assert.equal(wordOf('within noise', 'valLoss'), 'within noise');
});

const training = (row: string, seed: number, loss: number, change: Partial<Training> = {}): Training => ({
  ...{ row, seed, who: 'ours', planHash: '', trainHash: '', backend: 'auto', threads: 1, msPerStep: [10], seconds: 30 },
  losses: [...new Array<number>(50).fill(9), ...new Array<number>(50).fill(loss)],
  train: { samples: 84, top1: 0.9, loss: loss / 2 },
  val: { samples: 18, top1: 0.5 + seed / 10, loss },
  ...change,
});

it('a row is compared with the whole recipe by seed, measure by measure', () => {
  const whole = [1, 1.2, 1.4].map((loss, seed) => training(WHOLE, seed, loss));
  const row = { name: 'without SAM', stream: [], train: [], note: null };
  const off = whole.map(({ seed, val }) => training(row.name, seed, (val?.loss ?? 0) + 0.1));
  const scores = rowScores(row, off, whole, 18);
  near(scores.valLoss.mean, 1.3, 1e-12);
  near(scores.valTop1.mean, 0.6, 1e-12);
  assert.deepEqual(scores.valTop1Interval, wilson(scores.valTop1.mean, 18));
  const { difference } = scores;
  assert.deepEqual(
    [difference?.valLoss.word, difference?.trainLoss.word, difference?.valTop1.word, difference?.trainTop1.word],
    ['worse', 'worse', 'within noise', 'within noise'],
  );
  assert.equal(rowScores({ ...row, name: WHOLE }, whole, whole, 18).difference, null);
  assert.throws(
    () => rowScores(row, [training(row.name, 0, 1, { val: null })], whole.slice(0, 1), 18),
    /not evaluated/,
  );
});

it('a benchmark that goes on has every whole result, and not the line that its end cut short', async () => {
  const out = temporaryFolder();
  assert.deepEqual(await earlierTrainings(out), []);
  const [first, second, third] = [1, 2, 3].map((loss, seed) => training(WHOLE, seed, loss)) as [
    Training,
    Training,
    Training,
  ];
  await keepTraining(out, first);
  await keepTraining(out, second);
  const file = join(out, 'results.jsonl');
  await truncate(file, (await stat(file)).size - 5);
  assert.deepEqual(await earlierTrainings(out), [first]);
  await keepTraining(out, third);
  assert.deepEqual(await earlierTrainings(out), [first, third]);
});

it('PyTorch passes by its first steps and by the mean of its last fifty', () => {
  const ours = [0.6, 0.7, 0.8].map((loss, seed) => training(WHOLE, seed, loss));
  const theirs = (first: number, end: number) =>
    ours.map(({ losses, seed }) => {
      const changed = losses.map((loss, step) => (step === 2 ? loss * (1 + first) : step >= 50 ? loss + end : loss));
      return training(WHOLE, seed, 0, { who: 'pytorch', losses: changed, train: null, val: null });
    });
  // Either has a standard error of 0.1 / √3, the difference of 0.0816.
  assert.deepEqual(
    [
      [0, 0],
      [0.5e-4, 0.16],
      [2e-4, 0],
      [0, 0.17],
    ].map(([first = 0, end = 0]) => parityOf(ours, theirs(first, end)).pass),
    [true, true, false, false],
  );
  const { worstRelative, last, first } = parityOf(ours, theirs(0.5e-4, 0.16));
  near(worstRelative, 0.5e-4, 1e-8);
  near(last.difference, -0.16, 1e-12);
  near(last.paired.mean, -0.16, 1e-12);
  assert.equal(last.paired.verdict, 'lower', 'seed by seed the same shift is no chance');
  assert.deepEqual(first[0]?.ours, [9, 9, 9]);
  assert.throws(() => parityOf(ours, theirs(0, 0).reverse()), /seed 0/);
});
