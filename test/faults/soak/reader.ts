#!/usr/bin/env node
// A reader of a soak: reads its lanes from a step on, at a rate, and prints {step, contents} as JSON, one line a step.
//
// Takes {transport, run, rank, lanes, fromStep, rate} as JSON in its first argument; ends when it is killed.

import { setTimeout as sleep } from 'node:timers/promises';
import { Consumer } from '../../../stream/consumer.ts';
import { awaitRun } from '../../../stream/meta.ts';
import { reportProgress } from '../../../stream/progress.ts';
import { openTransport } from '../../../stream/transport/index.ts';
import { contentOf } from '../undisturbed.ts';

export interface ReaderOptions {
  readonly transport: string;
  readonly run: string;
  readonly rank: number;
  readonly lanes: readonly number[];
  readonly fromStep: number;
  /** Steps a second at most. */
  readonly rate: number;
}

export interface ReadStep {
  readonly step: number;
  /** By lane, in the order of `lanes`. */
  readonly contents: readonly string[];
}

/** Steps between two reports of progress. */
const REPORT_STEPS = 4;
const PATIENCE_MS = 120_000;

const options: ReaderOptions = JSON.parse(process.argv[2] ?? '');
const { run, rank, lanes, fromStep, rate } = options;
const say = (line: string): boolean => process.stderr.write(`${line}\n`);
const transport = await openTransport(options.transport, { onEvent: say });
const meta = await awaitRun(transport, run, PATIENCE_MS, say);
const consumer = await Consumer.open({ transport, run, meta, lanes, fromStep, prefetchBytes: 2 ** 22 });
const report = (consumedStep: number): Promise<void> =>
  reportProgress(transport, run, { trainer: 'soak', rank, consumedStep, checkpointStep: consumedStep + 1 });
// Before the first step: what nobody is known to want may be deleted.
await report(fromStep - 1);
let reported: Promise<void> = Promise.resolve();
for (let laneSteps = await consumer.next(); laneSteps; laneSteps = await consumer.next()) {
  const step = laneSteps[0]?.step ?? -1;
  const line: ReadStep = { step, contents: laneSteps.map(contentOf) };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  for (const laneStep of laneSteps) laneStep.release();
  if (step % REPORT_STEPS === 0) {
    await reported;
    reported = report(step);
  }
  await sleep(1000 / rate);
}
