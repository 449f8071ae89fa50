// One producer process: begins or joins a run and writes the lanes that it owns, until every lane is at the plan's end. Several
// share a run's lanes as a group; when one comes, goes or dies, lanes change hands.

import { Fault, readManifest } from '#shards';
import { openBuckets } from './buckets.ts';
import { openRegeneration } from './lane-starts.ts';
import type { LedgerRecord } from './ledger.ts';
import { joinRun, META_FORMAT, type RunMeta } from './meta.ts';
import { checkStepBound, type Plan, planHashOf, resolvePlan, trainHashOf } from './plan.ts';
import { type PoolCounters, RenderPool } from './pool.ts';
import { ProgressWatch } from './progress.ts';
import type { Recipe } from './recipe.ts';
import { FINGERPRINT } from './render.ts';
import { taskSource } from './tasks.ts';
import { topicSpecs } from './topics.ts';
import type { Transport } from './transport/transport.ts';
import { Writing } from './writing.ts';

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
  | { readonly kind: 'begun'; readonly plan: Plan; readonly planHash: string }
  /** The lanes that this process writes from now on, ascending. */
  | { readonly kind: 'lanes'; readonly lanes: readonly number[] }
  /** Where it begins in lanes that just came, by lane; `to`: steps that are made again end there. */
  | { readonly kind: 'from'; readonly steps: ReadonlyMap<number, number>; readonly to: number }
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

/** Resolves when every lane is at the plan's end, whoever wrote it, or the signal is aborted. */
export async function produce(options: ProduceOptions): Promise<ProduceCounters & PoolCounters> {
  const { transport, run, shards, recipe, onEvent, windowBytes, fromStep } = options;
  const manifest = await readManifest(shards);
  const { sha256, counts, classes } = manifest.dataset;
  const plan = resolvePlan(recipe, { sha256, counts });
  checkStepBound(plan, options.memoryBytes, '--memory');
  const planHash = planHashOf(plan);
  const buckets = await openBuckets(shards, manifest, plan);
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
  onEvent({ kind: 'begun', plan, planHash });

  const watch = await ProgressWatch.open(transport, run);
  const pool = await RenderPool.open(shards, options.workers);
  try {
    await forgetTrainers(watch, options.forget);
    const regeneration = fromStep === undefined ? null : await openRegeneration(transport, run, plan, fromStep);
    const writing = new Writing(options, plan, taskSource(plan, planHash, buckets), pool, watch, regeneration);
    if (regeneration) await writing.again(regeneration);
    await writing.toTheEnd();
    return writing.counters;
  } finally {
    await pool.close();
    await watch.close();
  }
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
