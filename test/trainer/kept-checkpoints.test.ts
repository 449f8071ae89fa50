// Which checkpoints stay: the newest few and the best one, whatever a crash left behind.

import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fault } from '#shards';
import { latestCheckpoint, type Score, writeCheckpoint } from '#trainer';
import { better, KeptCheckpoints } from '../../trainer/kept-checkpoints.ts';
import { temporaryFolder } from '../packed.ts';
import { checkpointAt } from './checkpoints.ts';

const scored = (epoch: number, top1: number, loss = 1): Score => ({
  ...{ epoch, resolution: 32, samples: 8 },
  ...{ top1, top5: 1, loss },
});

/** The steps of the checkpoints in OUT, and what best.json names. */
async function standing(out: string): Promise<{ steps: number[]; best: string | null }> {
  const names = (await readdir(out)).sort();
  const steps = names.filter((name) => name.startsWith('checkpoint-')).map((name) => Number(name.slice(11)));
  const best = names.includes('best.json') ? JSON.parse(await readFile(join(out, 'best.json'), 'utf8')) : null;
  const others = names.filter((name) => !name.startsWith('checkpoint-') && name !== 'best.json');
  assert.deepEqual(others, []);
  return { steps, best: best?.checkpoint ?? null };
}

const named = (step: number) => `checkpoint-${String(step).padStart(8, '0')}`;

test('the newest stay, and the best one; without a score none is best', async () => {
  const out = temporaryFolder();
  assert.equal(await latestCheckpoint(join(out, 'nowhere')), null);
  assert.equal(await latestCheckpoint(out), null);
  const kept = await KeptCheckpoints.open(out, 2);
  const seen: unknown[] = [];
  for (const [step, score] of [
    [3],
    [6],
    [10, scored(0, 0.5)],
    [13],
    [16],
    [20, scored(1, 0.4)],
    [23],
    [30, scored(2, 0.6)],
    [33],
    [36],
    [39],
  ] as [number, Score?][]) {
    assert.equal(await kept.add(checkpointAt(step, score)), join(out, named(step)));
    const { steps, best } = await standing(out);
    seen.push([...steps, best]);
  }
  assert.deepEqual(seen, [
    [3, null],
    [3, 6, null],
    [6, 10, named(10)],
    [10, 13, named(10)],
    [10, 13, 16, named(10)],
    [10, 16, 20, named(10)],
    [10, 20, 23, named(10)],
    [23, 30, named(30)],
    [30, 33, named(30)],
    [30, 33, 36, named(30)],
    [30, 36, 39, named(30)],
  ]);
  assert.deepEqual(JSON.parse(await readFile(join(out, 'best.json'), 'utf8')), {
    checkpoint: named(30),
    ...scored(2, 0.6),
  });
});

test('better is the higher top-1, then the lower loss, then the earlier, in whatever order they come', () => {
  const cases: [worse: Score, best: Score][] = [
    [scored(0, 0.4, 0.1), scored(1, 0.5, 0.9)],
    [scored(0, 0.5, 0.9), scored(1, 0.5, 0.8)],
    [scored(1, 0.5, 0.8), scored(0, 0.5, 0.8)],
  ];
  for (const [worse, best] of cases) assert.deepEqual([better(worse, best), better(best, worse)], [best, best]);
});

test('a start knows the best of before, keeps to its own --keep, and removes what was cut short', async () => {
  const out = temporaryFolder();
  const before = await KeptCheckpoints.open(out);
  for (const [step, top1] of [
    [10, 0.9],
    [20, 0.5],
    [30, 0.6],
    [40, 0.7],
  ] as const)
    await before.add(checkpointAt(step, scored(step / 10, top1)));
  assert.deepEqual(await standing(out), { steps: [10, 20, 30, 40], best: named(10) });

  // Killed while it wrote one, while it removed one, while it marked the best, and after a write that nothing followed.
  await mkdir(join(out, `${named(50)}.tmp`));
  await mkdir(join(out, `${named(5)}.old.tmp`));
  await writeFile(join(out, 'best.json.tmp'), '{');
  await writeFile(join(out, 'best.json'), '{"checkpoint":"another"}');
  await writeCheckpoint(out, checkpointAt(50, scored(5, 0.8)));
  assert.equal(await latestCheckpoint(out), join(out, named(50)));
  const after = await KeptCheckpoints.open(out, 1);
  assert.deepEqual(await standing(out), { steps: [10, 50], best: named(10) });
  await after.add(checkpointAt(60, scored(6, 0.89)));
  assert.deepEqual(await standing(out), { steps: [10, 60], best: named(10) });
  await after.add(checkpointAt(70, scored(7, 0.91)));
  assert.deepEqual(await standing(out), { steps: [70], best: named(70) });
});

test('where the best was removed by hand, the best of the others is', async () => {
  const out = temporaryFolder();
  const kept = await KeptCheckpoints.open(out);
  for (const step of [1, 2, 3]) await kept.add(checkpointAt(step, scored(step, 1 / step)));
  await rm(join(out, named(1)), { recursive: true });
  await KeptCheckpoints.open(out);
  assert.deepEqual(await standing(out), { steps: [2, 3], best: named(2) });
  for (const step of [2, 3]) await rm(join(out, named(step)), { recursive: true });
  await KeptCheckpoints.open(out);
  assert.deepEqual(await standing(out), { steps: [], best: null });
});

test('a checkpoint that cannot say its score is no reason to remove the best: the start fails and names it', async () => {
  const out = temporaryFolder();
  const kept = await KeptCheckpoints.open(out);
  for (const step of [1, 2, 3]) await kept.add(checkpointAt(step, scored(step, 1 / step)));
  const state = join(out, named(1), 'state.json');
  await writeFile(state, String(await readFile(state)).replace('"top1":1', '"top1":0'));
  await assert.rejects(
    KeptCheckpoints.open(out, 1),
    (error) => error instanceof Fault && error.code === 'checkpoint-damaged' && error.received.includes(state),
  );
  assert.deepEqual((await standing(out)).steps, [1, 2, 3]);
});
