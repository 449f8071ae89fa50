#!/usr/bin/env node
// sharp without a packer: the same pool, the same pixels, and the results dropped. What the packer can hope for with sharp.
//
// Takes {dir, files, workers, shortSides} as JSON on stdin; prints {seconds, cpuSeconds, work} as one JSON line.

import { text } from 'node:stream/consumers';
import { WorkerPool } from '#shards';
import type { SharpTask, SharpWork } from './sharp-alone.worker.ts';
import { addWork, type Work } from './work.ts';

interface Job {
  readonly dir: string;
  readonly files: readonly string[];
  readonly workers: number;
  readonly shortSides: readonly number[];
  readonly kernel: SharpTask['kernel'];
}

const { dir, files, workers, shortSides, kernel }: Job = JSON.parse(await text(process.stdin));
const started = performance.now();
const cpu = process.cpuUsage();
const pool = await WorkerPool.open<SharpTask, SharpWork>(new URL('./sharp-alone.worker.js', import.meta.url), workers);
const work: Work = {};
const tasks = files.map(async (file) => addWork(work, await pool.run({ dir, file, shortSides, kernel })));
await Promise.all(tasks);
const seconds = (performance.now() - started) / 1000;
const { user, system } = process.cpuUsage(cpu);
await pool.close();
process.stdout.write(`${JSON.stringify({ seconds, cpuSeconds: (user + system) / 1e6, work })}\n`);
