// The piscina pool that renders chunks, with its stage times and retries counted.

import { Piscina } from 'piscina';
import { Fault } from '#shards';
import type { ChunkTask, StageTimes } from './render.ts';
import type { RenderReply, RenderRequest } from './render.worker.ts';

export interface PoolCounters extends StageTimes {
  images: number;
  /** Tasks rendered again because a worker died. */
  retries: number;
}

const ATTEMPTS = 3;

export class RenderPool {
  readonly counters: PoolCounters = { images: 0, retries: 0, read: 0, decode: 0, kernel: 0 };
  readonly #pool: Piscina<RenderRequest, RenderReply>;
  readonly #shards: string;

  constructor(shards: string, workers: number) {
    this.#shards = shards;
    this.#pool = new Piscina({
      filename: new URL('./render.worker.js', import.meta.url).href,
      minThreads: workers,
      maxThreads: workers,
      // Tasks wait here only as far as the lanes' byte bounds let them.
      maxQueue: Infinity,
    });
  }

  /** A chunk's record bytes. A dead worker's task is rendered again: the bytes depend on the task alone. */
  async render(task: ChunkTask): Promise<Uint8Array<ArrayBuffer>> {
    for (let attempt = 1; ; attempt++) {
      let reply: RenderReply;
      try {
        reply = await this.#pool.run({ shards: this.#shards, task });
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
        this.counters.retries++;
        continue;
      }
      if (!reply.ok) throw Fault.from(reply.fault);
      this.counters.images += task.samples.length;
      for (const stage of ['read', 'decode', 'kernel'] as const) this.counters[stage] += reply.times[stage];
      return reply.bytes;
    }
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
