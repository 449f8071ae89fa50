// One producer process: begins or joins a run and writes its lanes until the plan is done.

import { Fault, type Manifest, openSplit, readManifest } from '#shards';
import { type WindowGate, writeLane } from './lane-writer.ts';
import { type LedgerRecord, openLedgers } from './ledger.ts';
import { joinRun, META_FORMAT, type RunMeta } from './meta.ts';
import { checkStepBound, type Plan, planHashOf, resolutionsOf, resolvePlan, trainHashOf } from './plan.ts';
import { type PoolCounters, RenderPool } from './pool.ts';
import { ProgressWatch } from './progress.ts';
import type { Recipe } from './recipe.ts';
import { FINGERPRINT } from './render.ts';
import { type BucketIndexes, taskSource } from './tasks.ts';
import { topicSpecs, topicsOf } from './topics.ts';
import type { Transport } from './transport/transport.ts';
import { admits, floorOf, keepFrom } from './window.ts';

export interface ProduceOptions {
  readonly transport: Transport;
  readonly run: string;
  /** Folder of the packed dataset. */
  readonly shards: string;
  readonly recipe: Recipe;
  readonly workers: number;
  /** Most bytes of lead over the slowest trainer, and of records kept. */
  readonly windowBytes: number;
  /** Most bytes of rendered records that wait for their append, all lanes; at least one step. */
  readonly memoryBytes: number;
  /** Makes the steps from here to each lane's highest again and compares them with the ledger. */
  readonly fromStep?: number;
  /** Trainers that will not come back. */
  readonly forget: readonly string[];
  readonly signal: AbortSignal;
  readonly onEvent: (event: ProduceEvent) => void;
}

export type ProduceEvent =
  | { readonly kind: 'begun'; readonly plan: Plan; readonly planHash: string; readonly steps: readonly number[] }
  | { readonly kind: 'step'; readonly record: LedgerRecord; readonly counters: ProduceCounters }
  | { readonly kind: 'window'; readonly lane: number; readonly step: number; readonly slowest: string | null };

export interface ProduceCounters extends PoolCounters {
  /** Lane-steps appended by this process. */
  laneSteps: number;
  bytes: number;
  /** Milliseconds in appends, all lanes added up. */
  append: number;
  /** Milliseconds that lanes waited for the window. */
  wait: number;
}

async function openBuckets(shards: string, manifest: Manifest, plan: Plan): Promise<Map<number, BucketIndexes>> {
  const wanted = resolutionsOf(plan);
  const packed = Object.keys(manifest.splits.train.buckets);
  const missing = wanted.filter((resolution) => !packed.includes(String(resolution)));
  if (missing.length > 0)
    throw new Fault({
      code: 'bucket-missing',
      received: `${shards} with buckets ${packed.join(', ')}`,
      expected: `bucket ${missing.join(', ')}, which the recipe's phases use`,
      remedy: `pack with 'preprocess shard --buckets ${wanted.join(',')}'`,
    });
  const buckets = new Map<number, BucketIndexes>();
  for (const resolution of wanted)
    buckets.set(resolution, {
      train: await openSplit(shards, manifest, 'train', resolution),
      val: await openSplit(shards, manifest, 'val', resolution),
    });
  return buckets;
}

/** Resolves when the plan is done or the signal aborted. */
export async function produce(options: ProduceOptions): Promise<ProduceCounters> {
  const { transport, run, shards, recipe, onEvent, windowBytes } = options;
  const failing = new AbortController();
  const signal = AbortSignal.any([options.signal, failing.signal]);
  const manifest = await readManifest(shards);
  const { sha256, counts, classes } = manifest.dataset;
  const plan = resolvePlan(recipe, { sha256, counts });
  checkStepBound(plan, options.memoryBytes, '--memory');
  const planHash = planHashOf(plan);
  const buckets = await openBuckets(shards, manifest, plan);
  const topics = topicsOf(run);

  const ours: RunMeta = {
    format: META_FORMAT,
    planHash,
    trainHash: trainHashOf(recipe),
    plan,
    recipe,
    dataset: { sha256, counts, classes },
    fingerprint: FINGERPRINT,
  };
  await joinRun(transport, run, ours, topicSpecs(run, plan, windowBytes));

  const lanes = Array.from({ length: plan.lanes }, (_, lane) => lane);
  const { ledgers, close: closeLedgers } = await openLedgers(transport, run, lanes);
  const watch = await ProgressWatch.open(transport, run);
  const pool = new RenderPool(shards, options.workers);
  const counters: ProduceCounters = Object.assign(pool.counters, { laneSteps: 0, bytes: 0, append: 0, wait: 0 });
  try {
    for (const trainer of options.forget)
      if (!(await watch.forget(trainer)))
        throw new Fault({
          code: 'trainer-unknown',
          received: `--forget ${trainer}`,
          expected: `one of ${watch.trainers.map((known) => known.trainer).join(', ') || 'no trainer, as none is known'}`,
          remedy: "see 'stream status'",
        });
    const first = lanes.map((lane) => {
      const next = (ledgers.get(lane)?.highestStep ?? -1) + 1;
      return Math.min(next, options.fromStep ?? next);
    });
    onEvent({ kind: 'begun', plan, planHash, steps: first });
    const gate = windowGate(plan, watch, windowBytes, signal, (lane, step, waitedMs) => {
      if (waitedMs === 0) onEvent({ kind: 'window', lane, step, slowest: floorOf(watch.trainers).slowest });
      counters.wait += waitedMs;
    });
    const tasks = taskSource(plan, planHash, buckets);
    // The first lane that fails stops the others, so that nothing is appended while everything is being closed.
    const ends = await Promise.allSettled(
      lanes.map((lane) => {
        const ledger = ledgers.get(lane);
        if (!ledger) throw new Error(`no ledger for lane ${lane}`);
        const writing = writeLane(
          {
            transport,
            topics,
            plan,
            lane,
            ledger,
            tasks,
            render: (task) => pool.render(task),
            gate,
            aheadBytes: options.memoryBytes / plan.lanes,
            aheadSteps: 1 + Math.ceil((4 * options.workers) / plan.lanes),
            signal,
            onStep: (record) => {
              counters.laneSteps++;
              counters.bytes += record.bytes;
              onEvent({ kind: 'step', record, counters });
            },
            onAppend: (ms) => {
              counters.append += ms;
            },
          },
          first[lane] ?? 0,
        );
        writing.catch(() => failing.abort());
        return writing;
      }),
    );
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed) throw failed.reason;
    return counters;
  } finally {
    await pool.close();
    await watch.close();
    await closeLedgers();
  }
}

function windowGate(
  plan: Plan,
  watch: ProgressWatch,
  windowBytes: number,
  signal: AbortSignal,
  onWait: (lane: number, step: number, waitedMs: number) => void,
): WindowGate {
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  const gate: WindowGate = {
    admits: (step) => admits(plan, floorOf(watch.trainers), step, windowBytes),
    async wait(step, lane) {
      const start = performance.now();
      onWait(lane, step, 0);
      while (!signal.aborted && !gate.admits(step)) await Promise.race([watch.changed(), aborted]);
      onWait(lane, step, performance.now() - start);
    },
    keepFrom: (head) => keepFrom(plan, floorOf(watch.trainers), head, windowBytes),
  };
  return gate;
}
