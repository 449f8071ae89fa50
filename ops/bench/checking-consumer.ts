#!/usr/bin/env node
// Reads a run from its first step to its last and does nothing but check: order, completeness and digests. It reports its
// progress as a trainer does, so that the log lets go of what was read.
//
// Takes {transport, run} as JSON on stdin; prints {images, bytes, settled: {images, seconds}} as one JSON line: `settled`
// leaves out the first quarter of the steps, in which the programs warm up.

import { text } from 'node:stream/consumers';
import { awaitRun, Consumer, openTransport, reportProgress } from '#stream';

/** Of prefetched pixels, all lanes. */
const PREFETCH_BYTES = 256 * 1024 * 1024;
const PATIENCE_MS = 60_000;
/** Steps between two reports. */
const REPORT_STEPS = 8;

const { transport: url, run }: { transport: string; run: string } = JSON.parse(await text(process.stdin));
const say = (line: string): boolean => process.stderr.write(`${line}\n`);
const transport = await openTransport(url, { create: false, onEvent: say });
const meta = await awaitRun(transport, run, PATIENCE_MS, say);
const lanes = Array.from({ length: meta.plan.lanes }, (_, lane) => lane);
const consumer = await Consumer.open({ transport, run, meta, lanes, fromStep: 0, prefetchBytes: PREFETCH_BYTES });
const warmUp = Math.floor(meta.plan.steps / 4);
let images = 0;
let settling = { images: 0, at: performance.now() };
let steps = 0;
for (let step = await consumer.next(); step; step = await consumer.next()) {
  for (const { samples, release } of step) {
    images += samples;
    release();
  }
  if (++steps % REPORT_STEPS === 0)
    await reportProgress(transport, run, {
      ...{ trainer: 'check', rank: 0 },
      ...{ consumedStep: steps - 1, checkpointStep: steps },
    });
  if (steps === warmUp) settling = { images, at: performance.now() };
}
const settled = { images: images - settling.images, seconds: (performance.now() - settling.at) / 1000 };
const { bytes } = consumer.counters;
await consumer.close();
await transport.close();
process.stdout.write(`${JSON.stringify({ images, bytes, settled })}\n`);
