// Where a replay's records come from: out of the log as the ledger names them, or rendered again from the shards.

import { Fault, readManifest } from '#shards';
import { openBuckets } from './buckets.ts';
import type { LedgerRecord, StepDigest } from './ledger.ts';
import type { RunMeta } from './meta.ts';
import { type PoolCounters, type RenderedChunk, RenderPool } from './pool.ts';
import { type ChunkTask, fingerprintWith } from './render.ts';
import { StepReader } from './step-reader.ts';
import { type TaskSource, taskSource } from './tasks.ts';
import type { Transport } from './transport/transport.ts';

/** A record's bytes; their memory goes to a later one after `release`. */
export interface ReplayRecord {
  readonly bytes: Uint8Array;
  release(): void;
}

export interface ReplaySource {
  /** A lane-step's records in order, to be asked for in (step, lane) order. `digest` holds theirs afterwards. */
  records(entry: LedgerRecord, digest: StepDigest): AsyncIterable<ReplayRecord>;
  /** Of the records that `records` gave last. */
  fingerprintOf(entry: LedgerRecord): string;
  /** What happened out of the ordinary. */
  readonly counters: Readonly<Record<string, number>>;
  close(): Promise<void>;
}

/** The steps and lanes that are replayed: from ≤ step < to. */
export interface ReplayRange {
  readonly from: number;
  readonly to: number;
  readonly lanes: readonly number[];
}

/** Reads as the trainer does; one topic is open at a time. */
export class LogSource implements ReplaySource {
  readonly #reader: StepReader;
  #topic: string | null = null;

  constructor(transport: Transport, run: string, { planHash }: RunMeta, lanes: readonly number[]) {
    this.#reader = new StepReader({ transport, run, planHash, lanes });
  }

  async *records(entry: LedgerRecord, digest: StepDigest): AsyncGenerator<ReplayRecord> {
    if (this.#topic !== null && this.#topic !== entry.topic) await this.#reader.close(this.#topic);
    this.#topic = entry.topic;
    yield* this.#reader.read(entry, digest);
  }

  /** The log's bytes are what the ledger's producer made, or their digest differs. */
  fingerprintOf({ fingerprint }: LedgerRecord): string {
    return fingerprint;
  }

  get counters() {
    const { skipped, seeks } = this.#reader.counters;
    return { skipped, seeks };
  }

  close(): Promise<void> {
    return this.#reader.close();
  }
}

export interface ShardSourceOptions {
  readonly meta: RunMeta;
  /** Folder of the packed dataset. */
  readonly shards: string;
  readonly workers: number;
  readonly range: ReplayRange;
}

/** Chunks of a worker that are rendered before they are asked for: one in work, one that waits there, one that is ready. */
const AHEAD_PER_WORKER = 3;

export class ShardSource implements ReplaySource {
  readonly #pool: RenderPool;
  readonly #chunks: AsyncGenerator<{ task: ChunkTask; chunk: RenderedChunk }>;
  readonly #decoders = new Set<string>();

  private constructor(pool: RenderPool, tasks: Iterator<ChunkTask>, ahead: number) {
    this.#pool = pool;
    this.#chunks = rendering(pool, tasks, ahead);
  }

  /** @throws Fault `dataset-differs` where the run was made of other shards */
  static async open({ meta, shards, workers, range }: ShardSourceOptions): Promise<ShardSource> {
    const { plan, planHash } = meta;
    const manifest = await readManifest(shards);
    if (manifest.dataset.sha256 !== plan.dataset.sha256)
      throw new Fault({
        code: 'dataset-differs',
        received: `${shards}: dataset ${manifest.dataset.sha256}`,
        expected: `${plan.dataset.sha256}, which the run was made of`,
        remedy:
          'give the shards that the run was made of; packed anew from the same photos by the same version they are equal',
        exit: 2,
      });
    const tasks = taskSource(plan, planHash, await openBuckets(shards, manifest, plan));
    const pool = await RenderPool.open(shards, workers);
    return new ShardSource(pool, chunkTasks(tasks, range), AHEAD_PER_WORKER * workers);
  }

  async *records({ step, lane }: LedgerRecord, digest: StepDigest): AsyncGenerator<ReplayRecord> {
    digest.begin();
    this.#decoders.clear();
    for (;;) {
      const { value } = await this.#chunks.next();
      const { id } = value?.task ?? {};
      if (!value || !id || id.step !== step || id.lane !== lane)
        throw new Error(`step ${step} of lane ${lane} was asked for out of order`);
      const { bytes, decoders, release } = value.chunk;
      digest.add(bytes);
      for (const name of Object.keys(decoders)) this.#decoders.add(name);
      yield { bytes, release };
      if (id.chunk === id.chunks - 1) return;
    }
  }

  fingerprintOf(): string {
    return fingerprintWith(this.#decoders);
  }

  get counters() {
    const { retries, viaTurbo, viaSharp, replaced }: PoolCounters = this.#pool.counters;
    return { retries, viaTurbo, viaSharp, replaced };
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}

function* chunkTasks(tasks: TaskSource, { from, to, lanes }: ReplayRange): Generator<ChunkTask> {
  for (let step = from; step < to; step++) for (const lane of lanes) yield* tasks.train(step, lane);
}

/** Renders the tasks in order, `ahead` of them at a time. */
async function* rendering(
  pool: RenderPool,
  tasks: Iterator<ChunkTask>,
  ahead: number,
): AsyncGenerator<{ task: ChunkTask; chunk: RenderedChunk }> {
  const started: { task: ChunkTask; chunk: Promise<RenderedChunk> }[] = [];
  for (;;) {
    while (started.length < ahead) {
      const { value: task, done } = tasks.next();
      if (done) break;
      const chunk = pool.render(task);
      // A failure is met where the chunk is asked for; until then it must not count as unhandled.
      chunk.catch(() => {});
      started.push({ task, chunk });
    }
    const first = started.shift();
    if (!first) return;
    yield { task: first.task, chunk: await first.chunk };
  }
}
