// Reads a run as a trainer does, reports its progress, and checks that each step comes once, in order, as it was made in peace.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConsumeCounters, Consumer } from '../../stream/consumer.ts';
import { awaitRun } from '../../stream/meta.ts';
import { reportProgress } from '../../stream/progress.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { contentOf, type Undisturbed } from './undisturbed.ts';

export interface TrainerOptions {
  readonly transport: Transport;
  readonly run: string;
  readonly expected: Pick<Undisturbed, 'contents'>;
  /** Without them, all. */
  readonly lanes?: readonly number[];
  readonly fromStep?: number;
  /** Awaited after each step: what is done to the stream is done here. */
  readonly onStep?: (step: number) => unknown;
  readonly prefetchBytes?: number;
}

export interface Trained {
  readonly steps: number;
  readonly counters: ConsumeCounters;
  /** The longest wait for a step, ms. */
  readonly longestGapMs: number;
}

/** Longer than that without a step is a hang, whatever happened. */
export const LONGEST_GAP_MS = 30_000;
/** For a producer that has yet to begin the run. */
const WAIT_MS = 60_000;

/** To the plan's end. */
export async function train(options: TrainerOptions): Promise<Trained> {
  const { transport, run, expected, fromStep = 0, onStep = () => undefined, prefetchBytes = 2 ** 16 } = options;
  const meta = await awaitRun(transport, run, WAIT_MS, () => undefined);
  const lanes = options.lanes ?? Array.from({ length: meta.plan.lanes }, (_, lane) => lane);
  const consumer = await Consumer.open({ transport, run, meta, lanes, fromStep, prefetchBytes });
  let step = fromStep;
  let longestGapMs = 0;
  let reported: Promise<void> = Promise.resolve();
  try {
    for (;;) {
      const asked = performance.now();
      const laneSteps = await inTime(consumer.next(), step);
      longestGapMs = Math.max(longestGapMs, performance.now() - asked);
      if (laneSteps === null) break;
      assert.deepEqual(
        laneSteps.map(({ lane }) => lane),
        lanes,
      );
      for (const laneStep of laneSteps) {
        assert.equal(laneStep.step, step);
        const key = `${laneStep.lane}/${step}`;
        assert.equal(contentOf(laneStep), expected.contents.get(key), `lane/step ${key}`);
        laneStep.release();
      }
      const progress = { trainer: 'trainer', rank: lanes[0] ?? 0, consumedStep: step, checkpointStep: step + 1 };
      reported = reported.then(() => reportProgress(transport, run, progress));
      reported.catch(() => undefined); // met at the end
      await onStep(step);
      step++;
    }
    await reported;
    assert.equal(step, meta.plan.steps);
    return { steps: step - fromStep, counters: consumer.counters, longestGapMs };
  } finally {
    await consumer.close();
  }
}

async function inTime<Value>(step: Promise<Value>, number: number): Promise<Value> {
  const limit = new AbortController();
  const late = sleep(LONGEST_GAP_MS, undefined, { signal: limit.signal }).then(() => {
    throw new Error(`step ${number} did not come within ${LONGEST_GAP_MS / 1000} s`);
  });
  try {
    return await Promise.race([step, late]);
  } finally {
    limit.abort();
    late.catch(() => undefined);
  }
}
