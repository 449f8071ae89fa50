// One producer process: begins or joins a run and writes its lanes until the plan is done.

import { Fault, type Manifest, openSplit, readManifest } from '#shards';
import { windowGate } from './gate.ts';
import { writeLane } from './lane-writer.ts';
import { type LaneLedger, type LedgerRecord, openLedgers, StepDigest } from './ledger.ts';
import { joinRun, META_FORMAT, type RunMeta } from './meta.ts';
import { checkStepBound, type Plan, planHashOf, resolutionsOf, resolvePlan, trainHashOf } from './plan.ts';
import { type PoolCounters, RenderPool } from './pool.ts';
import { ProgressWatch } from './progress.ts';
import type { Recipe } from './recipe.ts';
import { FINGERPRINT } from './render.ts';
import { type BucketIndexes, taskSource } from './tasks.ts';
import { topicSpecs, topicsOf } from './topics.ts';
import type { Extent, Transport } from './transport/transport.ts';

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
  | { readonly kind: 'step'; readonly record: LedgerRecord; readonly counters: ProduceCounters & PoolCounters }
  | { readonly kind: 'replaced'; readonly lane: number; readonly damaged: readonly string[] }
  | { readonly kind: 'window'; readonly lane: number; readonly step: number; readonly slowest: string | null };

export interface ProduceCounters {
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
export async function produce(options: ProduceOptions): Promise<ProduceCounters & PoolCounters> {
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
  // From here on a lane's ledger grows by what this process appends itself.
  await closeLedgers();
  const watch = await ProgressWatch.open(transport, run);
  const pool = await RenderPool.open(shards, options.workers);
  const counters: ProduceCounters = { laneSteps: 0, bytes: 0, append: 0, wait: 0 };
  try {
    await forgetTrainers(watch, options.forget);
    const highest = Math.max(...[...ledgers.values()].map(({ highestStep }) => highestStep));
    const first = await firstSteps(transport, ledgers, highest, options.fromStep);
    onEvent({ kind: 'begun', plan, planHash, steps: first });
    const gate = windowGate({
      plan,
      watch,
      windowBytes,
      regenerating: options.fromStep === undefined ? null : { from: options.fromStep, to: highest + 1 },
      signal,
      onWait: (lane, step, slowest) => onEvent({ kind: 'window', lane, step, slowest }),
      onWaited: (ms) => {
        counters.wait += ms;
      },
    });
    const tasks = taskSource(plan, planHash, buckets);
    // The first lane that fails stops the others, so that nothing is appended while everything is being closed.
    const ends = await Promise.allSettled(
      lanes.map(async (lane) => {
        const digest = new StepDigest();
        const ledger = ledgers.get(lane);
        if (!ledger) throw new Error(`no ledger for lane ${lane}`);
        const writing = writeLane(
          {
            transport,
            topics,
            plan,
            lane,
            ledger,
            digest,
            tasks,
            render: (task) => pool.render(task),
            gate,
            aheadBytes: options.memoryBytes / plan.lanes,
            aheadSteps: 1 + Math.ceil((4 * options.workers) / plan.lanes),
            signal,
            onStep: (record) => {
              counters.laneSteps++;
              counters.bytes += record.bytes;
              onEvent({ kind: 'step', record, counters: { ...counters, ...pool.counters } });
            },
            onReplaced: (damaged) => onEvent({ kind: 'replaced', lane, damaged }),
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
    return { ...counters, ...pool.counters };
  } finally {
    await pool.close();
    await watch.close();
  }
}

/**
 * Where each lane begins: after its ledger's highest step, or at `fromStep` if that is lower. Ledger records of steps
 * that the log no longer holds are dropped, so that memory does not grow with the run. `highest`: of all lanes.
 */
async function firstSteps(
  transport: Transport,
  ledgers: ReadonlyMap<number, LaneLedger>,
  highest: number,
  fromStep: number | undefined,
): Promise<number[]> {
  if (fromStep !== undefined && fromStep > highest)
    throw new Fault({
      code: 'nothing-to-regenerate',
      received: `--from-step ${fromStep}`,
      expected: highest < 0 ? 'a run that has steps' : `a step that some lane has: 0 … ${highest}`,
      remedy: 'leave out --from-step to go on after the ledger',
      exit: 2,
    });
  const extents = new Map<string, Extent[]>();
  for (const topic of new Set([...ledgers.values()].flatMap(({ trainTopics }) => trainTopics)))
    extents.set(topic, await transport.ends(topic));
  const first: number[] = [];
  for (const [lane, ledger] of ledgers) {
    first.push(Math.min(ledger.highestStep + 1, fromStep ?? Infinity));
    let retained = fromStep ?? Infinity;
    for (const topic of ledger.trainTopics) {
      const begin = extents.get(topic)?.[lane]?.begin ?? 0;
      retained = Math.min(retained, ledger.firstStepFrom(topic, begin));
    }
    ledger.forgetBelow(Math.min(retained, ledger.highestStep + 1));
  }
  return first;
}

async function forgetTrainers(watch: ProgressWatch, names: readonly string[]): Promise<void> {
  for (const name of names)
    if (!(await watch.forget(name)))
      throw new Fault({
        code: 'trainer-unknown',
        received: `--forget ${name}`,
        expected: `one of ${watch.trainers.map(({ trainer }) => trainer).join(', ') || 'no trainer, as none is known'}`,
        remedy: "see 'stream status'",
      });
}
