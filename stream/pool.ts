// The piscina pool that renders chunks; stage times, retries, fallbacks and replacements are counted.

import { Fault, WorkerPool } from '#shards';
import { DECODER, type DecoderChoice, LIBJPEG_TURBO } from './decode.ts';
import { RecordMemory } from './record-memory.ts';
import type { ChunkTask, Rendered, StageTimes } from './render.ts';
import type { RenderReply, RenderRequest } from './render.worker.ts';

export interface PoolCounters extends StageTimes {
  images: number;
  /** Tasks rendered again because a worker died, or threw what it should not. */
  retries: number;
  /** Workers that died without a task. */
  idleDeaths: number;
  /** Images that our decoder does not take, by who decoded them. */
  viaTurbo: number;
  viaSharp: number;
  /** Damaged images that others stand for. */
  replaced: number;
  /** Records in new memory, not in that of an earlier one. */
  fresh: number;
}

/** A chunk's record bytes and what they depend on beside the plan. */
export interface RenderedChunk extends Pick<Rendered, 'bytes' | 'decoders' | 'replaced'> {
  /** The bytes were used: their memory goes to a later record. Not to be read after it. */
  release(): void;
}

export interface PoolOptions {
  /** The built module that renders: render.worker.ts or what stands around it. */
  readonly worker?: URL;
  readonly decoder?: DecoderChoice;
}

const ATTEMPTS = 3;
/** MB. What lasts in a worker is 6; without bounds V8 lets garbage grow to tens of MB a worker before it collects it. */
const WORKER_HEAP = { maxYoungGenerationSizeMb: 6, maxOldGenerationSizeMb: 32 };
const RENDER_WORKER = new URL('./render.worker.js', import.meta.url);

const noCounts = (): PoolCounters => ({
  ...{ images: 0, retries: 0, idleDeaths: 0, viaTurbo: 0, viaSharp: 0, replaced: 0, fresh: 0 },
  ...{ read: 0, decode: 0, kernel: 0 },
});

export class RenderPool {
  readonly counters: PoolCounters;
  readonly #pool: WorkerPool<RenderRequest, RenderReply>;
  readonly #shards: string;
  readonly #decoder: DecoderChoice;
  readonly #memory = new RecordMemory();

  private constructor(
    pool: WorkerPool<RenderRequest, RenderReply>,
    { counters, shards, decoder }: { counters: PoolCounters; shards: string; decoder: DecoderChoice },
  ) {
    this.#pool = pool;
    this.counters = counters;
    this.#shards = shards;
    this.#decoder = decoder;
  }

  static async open(
    shards: string,
    workers: number,
    { worker = RENDER_WORKER, decoder = 'fastest' }: PoolOptions = {},
  ): Promise<RenderPool> {
    const counters = noCounts();
    const pool = await WorkerPool.open<RenderRequest, RenderReply>(worker, workers, {
      ...WORKER_HEAP,
      tasksPerWorker: 2,
      onIdleDeath: () => {
        counters.idleDeaths++;
      },
    });
    return new RenderPool(pool, { counters, shards, decoder });
  }

  /**
   * A dead worker's task is rendered again: the bytes depend on the task alone.
   * @throws Fault `workers-died` where all attempts ended so, and what `renderChunk` throws
   */
  async render(task: ChunkTask): Promise<RenderedChunk> {
    for (let attempt = 1; ; attempt++) {
      let reply: RenderReply;
      try {
        reply = await this.#pool.runMade(() => {
          const memory = this.#memory.take();
          const request = { shards: this.#shards, decoder: this.#decoder, task, memory };
          return { task: request, transfer: memory ? [memory] : [] };
        });
      } catch (error) {
        if (this.#pool.closed) throw error;
        if (attempt === ATTEMPTS) throw isDeath(error) ? workersDied(task, error) : error;
        this.counters.retries++;
        continue;
      }
      if (!reply.ok) throw Fault.from(reply.fault);
      this.counters.images += task.samples.length;
      for (const stage of ['read', 'decode', 'kernel'] as const) this.counters[stage] += reply.times[stage];
      const { bytes, decoders, replaced } = reply;
      for (const [name, images] of Object.entries(decoders))
        if (name === LIBJPEG_TURBO) this.counters.viaTurbo += images;
        else if (name !== DECODER) this.counters.viaSharp += images;
      this.counters.replaced += replaced.length;
      if (reply.fresh) this.counters.fresh++;
      return { bytes, decoders, replaced, release: this.#memory.releaserOf(bytes.buffer) };
    }
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

/** Whether the worker ended, by its own exit or at the bound of its heap. */
function isDeath(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  // piscina gives an exit no code.
  return (
    ('code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY') ||
    /^worker exited|^\d+ workers ended/.test(error.message)
  );
}

function workersDied({ id, samples }: ChunkTask, cause: Error): Fault {
  const { split, step, lane, chunk } = id;
  const [first] = samples;
  return new Fault({
    code: 'workers-died',
    received: `${split}, lane ${lane}, step ${step}, chunk ${chunk} from sample ${first?.sample}: ${ATTEMPTS} workers died, the last with '${cause.message}'`,
    expected: 'a worker that renders it',
    remedy:
      "free memory and start the same command again: it goes on after the ledger; 'preprocess verify' checks the samples",
    cause,
  });
}
