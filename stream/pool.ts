// The piscina pool that renders chunks; stage times, retries, fallbacks and replacements are counted.

import { Fault, WorkerPool } from '#shards';
import { DECODER, LIBJPEG_TURBO } from './decode.ts';
import type { ChunkTask, Rendered, StageTimes } from './render.ts';
import type { RenderReply, RenderRequest } from './render.worker.ts';

export interface PoolCounters extends StageTimes {
  images: number;
  /** Tasks rendered again because a worker died. */
  retries: number;
  /** Images that our decoder does not take, by who decoded them. */
  viaTurbo: number;
  viaSharp: number;
  /** Damaged images that others stand for. */
  replaced: number;
}

/** A chunk's record bytes and what they depend on beside the plan. */
export type RenderedChunk = Pick<Rendered, 'bytes' | 'decoders' | 'replaced'>;

const ATTEMPTS = 3;

export class RenderPool {
  readonly counters: PoolCounters = {
    ...{ images: 0, retries: 0, viaTurbo: 0, viaSharp: 0, replaced: 0 },
    ...{ read: 0, decode: 0, kernel: 0 },
  };
  readonly #pool: WorkerPool<RenderRequest, RenderReply>;
  readonly #shards: string;

  private constructor(pool: WorkerPool<RenderRequest, RenderReply>, shards: string) {
    this.#pool = pool;
    this.#shards = shards;
  }

  static async open(shards: string, workers: number): Promise<RenderPool> {
    const pool = await WorkerPool.open<RenderRequest, RenderReply>(
      new URL('./render.worker.js', import.meta.url),
      workers,
    );
    return new RenderPool(pool, shards);
  }

  /** A dead worker's task is rendered again: the bytes depend on the task alone. */
  async render(task: ChunkTask): Promise<RenderedChunk> {
    for (let attempt = 1; ; attempt++) {
      let reply: RenderReply;
      try {
        reply = await this.#pool.run({ shards: this.#shards, task });
      } catch (error) {
        if (attempt === ATTEMPTS || this.#pool.closed) throw error;
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
      return { bytes, decoders, replaced };
    }
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
