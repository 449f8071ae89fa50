#!/usr/bin/env node
// What bounds a loader on this machine: libjpeg-turbo alone, and sharp, over JPEGs that lie in memory, results dropped.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { WorkerPool } from '#shards';
import type { DecodeSpan, DecodeTask } from './decode-alone.worker.ts';
import { type LoaderAnswer, type LoaderJob, serveJobs } from './loader-child.ts';
import { readSet } from './loader-sets.ts';

let open:
  | {
      readonly key: string;
      readonly jpegs: Pick<DecodeTask, 'bytes' | 'places'>;
      readonly pool: WorkerPool<DecodeTask, DecodeSpan>;
    }
  | undefined;

/** All JPEGs in one shared block, so that every worker has them without a copy. */
async function opened({ set, workers }: LoaderJob) {
  const key = `${set} ${workers}`;
  if (open?.key !== key) {
    await open?.pool.close();
    const { files, samples } = await readSet(set);
    const bytes = new Uint8Array(new SharedArrayBuffer(samples.reduce((sum, sample) => sum + sample.bytes, 0)));
    let at = 0;
    const places: DecodeTask['places'][number][] = [];
    for (const [i, { width, height }] of samples.entries()) {
      const jpeg = await readFile(join(set, files[i] ?? ''));
      bytes.set(jpeg, at);
      places.push({ offset: at, bytes: jpeg.length, width, height });
      at += jpeg.length;
    }
    const pool = await WorkerPool.open<DecodeTask, DecodeSpan>(
      new URL('./decode-alone.worker.js', import.meta.url),
      workers,
    );
    open = { key, jpegs: { bytes, places }, pool };
  }
  return open;
}

async function versionOf(task: DecodeTask['task']): Promise<string> {
  const turbo: { version: string } = createRequire(import.meta.url)('@julusian/jpeg-turbo/package.json');
  if (task === 'turbo') return `@julusian/jpeg-turbo ${turbo.version}`;
  const { versions } = (await import('sharp')).default;
  return `sharp ${versions.sharp}, libvips ${versions.vips}`;
}

await serveJobs(async (job): Promise<LoaderAnswer> => {
  const { jpegs, pool } = await opened(job);
  const { workers, images, output, scale, ratio, flip, check } = job;
  const task = job.task as DecodeTask['task'];
  const spans = await Promise.all(
    Array.from({ length: workers }, (_, worker) =>
      pool.run({ ...jpegs, task, first: worker, stride: workers, images, output, scale, ratio, flip, check }),
    ),
  );
  const sum = (of: (span: DecodeSpan) => number): number => spans.reduce((all, span) => all + of(span), 0);
  const begun = Math.min(...spans.map(({ begun }) => begun));
  const ended = Math.max(...spans.map(({ ended }) => ended));
  const mean = check ? sum((span) => span.sum) / sum((span) => span.size) : null;
  const seconds = (ended - begun) / 1000;
  return { images: sum((span) => span.images), seconds, mean, version: await versionOf(task) };
});
await open?.pool.close();
