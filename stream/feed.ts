// The trainer's hold on the consumer thread: one batch is always asked for ahead of the step that runs.

import { Worker } from 'node:worker_threads';
import { Fault, type FaultDetails } from '#shards';
import type { ConsumeCounters } from './consumer.ts';
import type { RunMeta } from './meta.ts';
import type { TrainerProgress } from './progress.ts';

/** Some samples of a step, contiguous. */
export interface GroupSamples {
  readonly samples: number;
  /** U8 [samples, resolution, resolution, 3]. */
  readonly images: Uint8Array<ArrayBuffer>;
  /** Class indexes; the target is lam·onehot(labelA) + (1 − lam)·onehot(labelB). */
  readonly labelA: Int32Array<ArrayBuffer>;
  readonly labelB: Int32Array<ArrayBuffer>;
  readonly lam: Float32Array<ArrayBuffer>;
}

/** What a rank has of a step, by group, the unit of BatchNorm and gradient. */
export interface FeedBatch {
  readonly step: number;
  /** When its last ledger record was known here, ms since the epoch: before that, nobody had written it. */
  readonly writtenAt: number;
  readonly groups: readonly GroupSamples[];
}

export interface JoinOptions {
  readonly transport: string;
  readonly run: string;
  /** How long to wait for a run that nobody has begun. */
  readonly waitMs: number;
}

export interface StartOptions {
  readonly meta: RunMeta;
  readonly fromStep: number;
  /** The lanes of this rank. */
  readonly lanes: readonly number[];
  /** How many groups they make. */
  readonly groups: number;
  /** Bound of prefetched pixel bytes; one step always fits. */
  readonly prefetchBytes: number;
}

export interface ForgetOptions {
  readonly trainer: string;
  /** How many ranks it has from now on. */
  readonly ranks: number;
}

/** What the thread answers to. */
export interface FeedMethods {
  join(options: JoinOptions): Promise<RunMeta>;
  start(options: StartOptions): Promise<void>;
  next(): Promise<FeedBatch | null>;
  evaluate(options: { readonly resolution: number }): Promise<GroupSamples | null>;
  report(progress: TrainerProgress): Promise<void>;
  forgetRanks(options: ForgetOptions): Promise<void>;
  counters(): Promise<ConsumeCounters & Record<string, number>>;
  close(): Promise<void>;
}

export interface FeedRequest {
  readonly id: number;
  readonly method: keyof FeedMethods;
  readonly argument: unknown;
}

export type FeedReply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly fault: FaultDetails | undefined; readonly stack: string }
  | { readonly event: string };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

export class Feed {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #id = 0;
  /** Set once the thread is gone: nobody would answer. */
  #ended: { readonly error: unknown } | null = null;
  #ahead: Promise<FeedBatch | null> | undefined;
  /** Milliseconds that the caller waited for batches. */
  waitMs = 0;
  /** Of these, those for steps that no producer had written yet; the rest went by with reading. */
  unwrittenMs = 0;
  /** Whether the caller waits for one now. */
  waiting = false;

  /** `onEvent` is told of waits, retries and reconnects. */
  constructor(onEvent: (message: string) => void) {
    this.#worker = new Worker(new URL('./feed.worker.js', import.meta.url));
    this.#worker.on('message', (reply: FeedReply) => {
      if ('event' in reply) return onEvent(reply.event);
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if ('value' in reply) waiting?.resolve(reply.value);
      else
        waiting?.reject(reply.fault ? Fault.from(reply.fault) : new Error(`in the consumer's thread: ${reply.stack}`));
    });
    const ended = (error: unknown) => {
      this.#ended ??= { error };
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    };
    this.#worker.on('error', ended);
    this.#worker.on('exit', (code) => ended(new Error(`the consumer's thread ended with code ${code}`)));
  }

  /** Reads the run's record 0, waiting for it if need be. */
  join(options: JoinOptions): Promise<RunMeta> {
    return this.#call('join', options);
  }

  async start(options: StartOptions): Promise<void> {
    await this.#call('start', options);
    this.#askAhead();
  }

  /** The next step's batch; null at the plan's end. */
  async next(): Promise<FeedBatch | null> {
    const start = performance.now();
    this.waiting = true;
    const batch = await (this.#ahead ?? this.#askAhead());
    this.waiting = false;
    const waitMs = performance.now() - start;
    this.waitMs += waitMs;
    if (!batch) return null;
    this.unwrittenMs += Math.min(waitMs, Math.max(0, batch.writtenAt - performance.timeOrigin - start));
    this.#askAhead();
    return batch;
  }

  /** The val split at a resolution, chunk by chunk. To be read to its end. */
  async *evaluation(resolution: number): AsyncGenerator<GroupSamples> {
    for (;;) {
      const chunk = await this.#call('evaluate', { resolution });
      if (!chunk) return;
      yield chunk;
    }
  }

  report(progress: TrainerProgress): Promise<void> {
    return this.#call('report', progress);
  }

  /** Lets go of a trainer's ranks where it had more of them before: producers would wait for those for ever. */
  forgetRanks(options: ForgetOptions): Promise<void> {
    return this.#call('forgetRanks', options);
  }

  counters(): Promise<ConsumeCounters & Record<string, number>> {
    return this.#call('counters');
  }

  async close(): Promise<void> {
    try {
      if (!this.#ended) await this.#call('close');
    } finally {
      await this.#worker.terminate();
    }
  }

  #askAhead(): Promise<FeedBatch | null> {
    this.#ahead = this.#call('next');
    // Met where the batch is awaited; until then a failure must not count as unhandled.
    this.#ahead.catch(() => {});
    return this.#ahead;
  }

  #call<Method extends keyof FeedMethods>(
    method: Method,
    argument?: Parameters<FeedMethods[Method]>[0],
  ): ReturnType<FeedMethods[Method]> {
    const id = this.#id++;
    const reply = new Promise<unknown>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended.error);
      this.#worker.postMessage({ id, method, argument } satisfies FeedRequest);
      this.#waiting.set(id, { resolve, reject });
    });
    return reply as ReturnType<FeedMethods[Method]>;
  }
}
