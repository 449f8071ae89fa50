// Record memory that goes round, and workers that die.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import sharp from 'sharp';
import { openSplit, readManifest } from '#shards';
import { type RenderedChunk, RenderPool } from '../../stream/pool.ts';
import type { ChunkTask } from '../../stream/render.ts';
import { temporaryFolder as folder, packPhotos } from '../packed.ts';
import { sampleOf, temporaryFolder, writeDataset } from '../shards/dataset.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

let shards: string;
/** The chunk of one sample or more, from sample `first` on; `step` keys its draws. */
let taskOf: (step: number, samples?: number, first?: number) => ChunkTask;

before(async () => {
  shards = await packPhotos('16:24');
  const index = await openSplit(shards, await readManifest(shards), 'train', 16);
  taskOf = (step, samples = 2, first = step % 20) => ({
    id: { plan: '', split: 'train', epoch: 0, step, lane: 0, chunk: 0, chunks: 1, resolution: 16 },
    seed: 1,
    crop: 'random-resized',
    damaged: 'fail',
    scale: [0.35, 1],
    ratio: [0.75, 4 / 3],
    cropRatio: 1,
    flip: 0.5,
    mixup: samples > 1 ? 0.2 : 0,
    samples: Array.from({ length: samples }, (_, i) => ({
      sample: first + i,
      index: i,
      location: index.locate(first + i),
    })),
  });
});

/** Renders steps [0, steps), so many at a time, and gives each to `use`. */
async function renderSteps(pool: RenderPool, steps: number, use: (chunk: RenderedChunk, step: number) => void) {
  let next = 0;
  const draw = async () => {
    while (next < steps) {
      const step = next++;
      use(await pool.render(taskOf(step, 1 + (step % 3))), step);
    }
  };
  await Promise.all(Array.from({ length: 8 }, draw));
}

describe('record memory', () => {
  it('goes round: the same bytes, whatever it held, and no more of it after thousands of chunks', async () => {
    const pool = await RenderPool.open(shards, 2);
    const expected: Buffer[] = [];
    await renderSteps(pool, 60, ({ bytes }, step) => {
      expected[step] = Buffer.from(bytes);
    });
    const { fresh } = pool.counters;
    assert.equal(fresh, 60, 'nothing was released');
    for (let round = 0; round < 50; round++)
      await renderSteps(pool, 60, ({ bytes, release }, step) => {
        assert.ok(Buffer.from(bytes).equals(expected[step] as Buffer), `step ${step}`);
        bytes.fill(0xff);
        release();
        release();
      });
    // Memory of a record of one image may be too small for one of three: each is replaced at most twice.
    assert.ok(pool.counters.fresh - fresh <= 3 * 8, `${pool.counters.fresh - fresh} for 3000 records, 8 at a time`);
    await pool.close();
  });

  it('is detached for a late reader as soon as another record is made in it', async () => {
    const pool = await RenderPool.open(shards, 1);
    const late = await pool.render(taskOf(3));
    late.release();
    const next = await pool.render(taskOf(4));
    assert.equal(late.bytes.length, 0);
    assert.ok(next.bytes.length > 0);
    assert.equal(pool.counters.fresh, 1);
    await pool.close();
  });

  /** Holds 500 records while as many others are made and released; only weak references to their memory are left. */
  async function hold(pool: RenderPool): Promise<WeakRef<ArrayBuffer>[]> {
    const held: RenderedChunk[] = [];
    await renderSteps(pool, 500, (chunk) => held.push(chunk));
    const copies = held.map(({ bytes }) => Buffer.from(bytes));
    await renderSteps(pool, 500, ({ release }) => release());
    for (const [i, { bytes }] of held.entries()) assert.ok(Buffer.from(bytes).equals(copies[i] as Buffer));
    return held.map(({ bytes }) => new WeakRef(bytes.buffer));
  }

  it('that a reader holds on to is not used again, and is garbage once the reader forgets it', async () => {
    const pool = await RenderPool.open(shards, 2);
    const memories = await hold(pool);
    await new Promise(setImmediate);
    collect();
    const left = memories.filter((memory) => memory.deref()).length;
    assert.ok(left < 5, `${left} of ${memories.length} are still referred to`);
    await pool.close();
  });
});

it('tasks that stand ready in one worker do not disturb each other, also where sharp decodes', async (t) => {
  const dir = await temporaryFolder(t);
  const samples = await Promise.all(
    Array.from({ length: 8 }, async (_, position) => {
      const { width, height } = sampleOf(position, Buffer.alloc(0));
      const noise = { type: 'gaussian' as const, mean: 16 * position, sigma: 30 };
      const image = sharp({ create: { width, height, channels: 3, background: 'black', noise } });
      // Every second one is a PNG, which sharp decodes.
      return sampleOf(position, await (position % 2 === 0 ? image.png() : image.jpeg()).toBuffer());
    }),
  );
  await writeDataset(dir, [samples]);
  const pool = await RenderPool.open(dir, 1);
  const index = await openSplit(dir, await readManifest(dir), 'train', 8);
  const tasks = Array.from({ length: 8 }, (_, step): ChunkTask => {
    const task = taskOf(step, 1, 0);
    return { ...task, samples: [{ sample: step, index: 0, location: index.locate(step) }] };
  });
  const alone: Uint8Array[] = [];
  for (const task of tasks) alone.push((await pool.render(task)).bytes);
  const together = await Promise.all(tasks.map((task) => pool.render(task)));
  assert.deepEqual(
    together.map(({ bytes }) => bytes),
    alone,
  );
  assert.equal(pool.counters.viaSharp, 8, 'four twice');
  await pool.close();
});

describe('a worker that dies', () => {
  const dying = new URL('./dying.worker.js', import.meta.url);

  it('has all its tasks rendered again, to the same bytes', async () => {
    const steps = [0, 1, 3, 4, 5, 6, 7, 8];
    const whole = await RenderPool.open(shards, 2);
    const expected = await Promise.all(steps.map((step) => whole.render(taskOf(step))));
    await whole.close();
    process.env['DYING_MARK'] = join(folder(), 'died');
    const pool = await RenderPool.open(shards, 1, { worker: dying });
    // So that the two tasks that die carry memory.
    const early = await Promise.all([pool.render(taskOf(9)), pool.render(taskOf(10))]);
    for (const { release } of early) release();
    const chunks = await Promise.all(steps.map((step) => pool.render(taskOf(step))));
    for (const [i, { bytes }] of chunks.entries()) assert.deepEqual(bytes, expected[i]?.bytes);
    assert.equal(pool.counters.retries, 2, 'the one that it died of and the one that stood ready');
    assert.equal(pool.counters.images, 2 * (2 + steps.length));
    await pool.close();
  });

  it('again and again of one task fails that task and whoever was with it each time, and the pool closes', async () => {
    const pool = await RenderPool.open(shards, 1, { worker: dying });
    await assert.rejects(pool.render(taskOf(2)));
    assert.equal(pool.counters.retries, 2);
    assert.ok((await pool.render(taskOf(3))).bytes.length > 0, 'a new worker goes on');
    await pool.close();
  });
});
