#!/usr/bin/env node
// Our side of the loaders' benchmark: the stream's own pool, from shards to finished records in memory, MixUp included.

import { decodeTensors, permutation } from '#shards';
import { type ChunkTask, chunkSizes, RenderPool } from '#stream';
import { type LoaderAnswer, type LoaderJob, serveJobs } from './loader-child.ts';
import { type LoaderSet, readSet } from './loader-sets.ts';

/** Images of a step, which is cut into records as a lane's slice is. */
const SLICE = 64;
const MIXUP_ALPHA = 0.2;
/** Tasks asked for at once, a worker: none ever waits for the next. */
const AHEAD = 4;

let open: { readonly key: string; readonly set: LoaderSet; readonly pool: RenderPool } | undefined;
let epochs = 0;

async function opened({ set, workers }: LoaderJob) {
  const key = `${set} ${workers}`;
  if (open?.key !== key) {
    await open?.pool.close();
    open = { key, set: await readSet(set), pool: await RenderPool.open(set, workers) };
  }
  return open;
}

/** The set in a new order as often as it takes, in slices, each cut into records. */
function* tasksOf({ samples }: LoaderSet, job: LoaderJob): Generator<ChunkTask> {
  const { images, output, scale, ratio, flip } = job;
  const order: number[] = [];
  while (order.length < images) {
    order.push(...permutation(samples.length, { seed: 0, purpose: 'order.samples', epoch: epochs }));
    epochs++;
  }
  order.length = images;
  for (let begin = 0, step = 0; begin < images; begin += SLICE, step++) {
    const sizes = chunkSizes(Math.min(SLICE, images - begin), output);
    let at = begin;
    for (const [chunk, size] of sizes.entries()) {
      const members = order.slice(at, at + size).map((sample, i) => {
        const location = samples[sample];
        if (!location) throw new RangeError(`sample ${sample} of ${samples.length}`);
        return { sample, index: at - begin + i, location };
      });
      at += size;
      yield {
        id: {
          plan: '0'.repeat(64),
          split: 'train',
          epoch: epochs,
          step,
          lane: 0,
          chunk,
          chunks: sizes.length,
          resolution: output,
        },
        seed: 0,
        crop: 'random-resized',
        damaged: 'fail',
        scale,
        ratio,
        cropRatio: 0.875,
        flip,
        mixup: size > 1 ? MIXUP_ALPHA : 0,
        samples: members,
      };
    }
  }
}

await serveJobs(async (job): Promise<LoaderAnswer> => {
  const { set, pool } = await opened(job);
  const tasks = tasksOf(set, job);
  const before = { ...pool.counters };
  const sums = { bytes: 0, size: 0 };
  const started = performance.now();
  const draw = async (): Promise<void> => {
    for (const task of tasks) {
      const chunk = await pool.render(task);
      if (job.check) {
        const images = decodeTensors(chunk.bytes).tensors.get('images')?.data;
        if (!images) throw new Error('a record without images');
        for (const byte of images) sums.bytes += byte;
        sums.size += images.length;
      }
      chunk.release();
    }
  };
  await Promise.all(Array.from({ length: AHEAD * job.workers }, draw));
  const seconds = (performance.now() - started) / 1000;
  const images = pool.counters.images - before.images;
  const stages = Object.fromEntries(
    (['read', 'decode', 'kernel'] as const).map((stage) => [stage, (pool.counters[stage] - before[stage]) / images]),
  );
  return { images, seconds, mean: job.check ? sums.bytes / sums.size : null, stages };
});
await open?.pool.close();
