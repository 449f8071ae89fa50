#!/usr/bin/env node
// Our side of the loaders' benchmark: the stream's own pool, from shards to finished records in memory, MixUp included.

import { decodeTensors } from '#shards';
import { RenderPool } from '#stream';
import { chunkTasks, epochsOf } from './chunk-tasks.ts';
import { type LoaderAnswer, type LoaderJob, serveJobs } from './loader-child.ts';
import { type LoaderSet, readSet } from './loader-sets.ts';

/** Tasks asked for at once, a worker: none ever waits for the next. */
const AHEAD = 4;

let open: { readonly key: string; readonly set: LoaderSet; readonly pool: RenderPool } | undefined;
let epochs = 0;

async function opened({ set, workers, task }: LoaderJob) {
  const key = `${set} ${workers} ${task}`;
  if (open?.key !== key) {
    await open?.pool.close();
    const decoder = task === 'sharp' ? 'sharp' : 'fastest';
    open = { key, set: await readSet(set), pool: await RenderPool.open(set, workers, { decoder }) };
  }
  return open;
}

await serveJobs(async (job): Promise<LoaderAnswer> => {
  const { set, pool } = await opened(job);
  const run = { ...job, samples: set.samples, firstEpoch: epochs };
  epochs += epochsOf(run);
  const tasks = chunkTasks(run);
  const before = { ...pool.counters };
  const sums = { bytes: 0, size: 0 };
  const loop = performance.eventLoopUtilization();
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
  const of = (stage: 'read' | 'decode' | 'kernel'): number => (pool.counters[stage] - before[stage]) / images;
  // What no further worker makes faster: handing out tasks and taking back records, on this thread.
  const main = performance.eventLoopUtilization(loop).active / images;
  const stages = { read: of('read'), decode: of('decode'), kernel: of('kernel'), main };
  const mean = job.check ? sums.bytes / sums.size : null;
  return { images, seconds, mean, stages, version: `Node ${process.version}` };
});
await open?.pool.close();
