// One run of the pool over the groups of a job.

import { Fault, type LayoutName, permutation, type Split, WorkerPool } from '#shards';
import { type Estimate, estimate } from './estimate.ts';
import { type Group, groupsOf, type Job, positionsIn, positionsOf } from './job.ts';
import type { PackOptions } from './pack.ts';
import { rejectLimit } from './rejects.ts';
import type { GroupResult, GroupTask, ProbeResult, ProbeTask, SourceRequest } from './shard.worker.ts';
import { Tally } from './tally.ts';
import type { Workspace } from './workspace.ts';

/** A worker's garbage is short-lived: with V8's own limits three heaps of it would grow for the first minutes of a run. */
export const WORKER_HEAP = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 512 };

/** Milliseconds between two looks at the tally. */
const LOOK_MS = 250;

/** What a run is about to do. */
export interface PackPlan {
  readonly layout: LayoutName;
  readonly classes: number;
  readonly sources: Readonly<Record<Split, number>>;
  /** Shards of each bucket, of the job and of those what is left to do. */
  readonly shards: number;
  readonly left: number;
  /** Of what is left to do. */
  readonly estimate: Estimate;
}

type ShardPool = WorkerPool<GroupTask | ProbeTask, GroupResult | ProbeResult>;

/** Its threads load what they need meanwhile. */
export function openShardPool(workers: number): Promise<ShardPool> {
  return WorkerPool.open(new URL('./shard.worker.js', import.meta.url), workers, WORKER_HEAP);
}

export class GroupRun {
  readonly #options: PackOptions;
  readonly #job: Job;
  readonly #request: SourceRequest;
  readonly #pool: ShardPool;
  readonly #rejectLimit: number;
  readonly #order: Readonly<Record<Split, Uint32Array>>;

  /** `catalogue`: the folder that holds the list of sources. */
  constructor(options: PackOptions, job: Job, catalogue: string, pool: ShardPool) {
    const { source: root, buckets, pixels, timeoutMs } = options;
    this.#options = options;
    this.#job = job;
    this.#request = { root, catalogue, buckets, pixels, timeoutMs };
    this.#pool = pool;
    this.#rejectLimit = rejectLimit(positionsIn(job, groupsOf(job)), options.maxRejects);
    // 4 bytes a source: 5 MB for ImageNet, all that grows with it here.
    const order = (split: Split) =>
      permutation(job.sources[split].count, { seed: options.seed, purpose: `pack.${split}` });
    this.#order = { train: order('train'), val: order('val') };
  }

  async plan(layout: LayoutName, left: readonly Group[], out: string): Promise<PackPlan> {
    const { classes, sources } = this.#job;
    const measure = (task: ProbeTask) => this.#pool.run(task) as Promise<ProbeResult>;
    return {
      layout,
      classes: classes.length,
      sources: { train: sources.train.count, val: sources.val.count },
      shards: groupsOf(this.#job).length,
      left: left.length,
      estimate: await estimate(measure, this.#job, left, this.#request, out),
    };
  }

  /**
   * Packs `left` into the workspace, one group a worker at a time.
   * @throws Fault the first in the groups' order; the signal's reason
   */
  async pack(left: readonly Group[], workspace: Workspace): Promise<void> {
    const { signal, workers, onProgress } = this.#options;
    const tally = new Tally();
    tally.add('rejects', await rejectsBefore(groupsOf(this.#job), workspace));
    const sources = positionsIn(this.#job, left);
    const report = (): void =>
      onProgress?.({
        done: tally.get('done'),
        sources,
        sourceBytes: tally.get('sourceBytes'),
        rejects: tally.get('rejects'),
      });
    let failure: { readonly cause: unknown; readonly group: number } | null = null;
    const fail = (cause: unknown, group: number): void => {
      if (failure && failure.group <= group) return;
      failure = { cause, group };
      tally.stopAfter(group);
    };
    const interrupt = (): void => fail(signal?.reason, -1);
    if (signal?.aborted) interrupt();
    signal?.addEventListener('abort', interrupt);
    const looking = setInterval(report, LOOK_MS);
    const waiting = left.entries();
    const lane = async (): Promise<void> => {
      for (const [number, group] of waiting) {
        if (tally.stops(number)) return;
        try {
          const result = (await this.#pool.run(this.#task(group, number, workspace.out, tally))) as GroupResult;
          if (result.ok) await workspace.record(result.record);
          else fail(Fault.from(result.fault), number);
        } catch (error) {
          fail(error, number);
        }
      }
    };
    try {
      await Promise.all(Array.from({ length: workers }, lane));
    } finally {
      clearInterval(looking);
      signal?.removeEventListener('abort', interrupt);
    }
    report();
    if (failure) throw (failure as { cause: unknown }).cause;
  }

  #task(group: Group, number: number, out: string, tally: Tally): GroupTask {
    const { begin, end } = positionsOf(this.#job, group);
    return {
      ...this.#request,
      kind: 'group',
      out,
      group,
      number,
      order: this.#order[group.split].slice(begin, end),
      firstPosition: begin,
      onError: this.#options.onError,
      rejectLimit: this.#rejectLimit,
      tally: tally.memory,
    };
  }
}

/** What earlier runs have rejected counts towards the limit too. */
async function rejectsBefore(groups: readonly Group[], workspace: Workspace): Promise<number> {
  let sum = 0;
  for (const group of groups) if (workspace.isDone(group)) sum += (await workspace.recordOf(group)).rejects.length;
  return sum;
}
