// Reads a topic from Kafka by fetching from the leaders directly: no consumer group, so no heartbeat, no rebalance, and
// a caller that is busy for a minute loses nothing.

import type { Cluster } from 'kafkajs';
import type { Fault } from '#shards';
import { offsetOutOfRange, unknownTopic, unreachable } from './faults.ts';
import { failureOf, UNKNOWN_TOPIC_MS } from './kafka-client.ts';
import { giveBack } from './kafka-frames.ts';
import { type FetchedMessage, KafkaLane } from './kafka-lane.ts';
import { refusalOf } from './kafka-refusals.ts';
import { KafkaValues } from './kafka-values.ts';
import type { LogRecord, Reader, ReaderOptions } from './transport.ts';

/** How long a broker holds a fetch that finds nothing; a partition that becomes hungry meanwhile waits that long. */
const MAX_WAIT_MS = 100;
/** Of one fetch: what a processor's cache still holds when it is copied out; and a partition's share at least. */
const FETCH_BYTES = 8 * 1024 * 1024;
const PART_BYTES = 2 * 1024 * 1024;
const BACKOFF_MS = { first: 25, last: 1000 };

export interface ReadCounters {
  reconnects: number;
  skippedToBegin: number;
}

export interface KafkaReaderOptions extends ReaderOptions {
  /** Makes connections of the reader's own: it disconnects them at the end. */
  readonly newCluster: () => Cluster;
  readonly url: string;
  readonly patienceMs: number;
  readonly counters: ReadCounters;
  readonly onEvent: (event: string) => void;
  readonly onClose: (reader: KafkaReader) => void;
}

/** The part of a fetch's answer that is used (kafkajs leaves it untyped). */
interface FetchAnswer {
  readonly responses: readonly {
    readonly partitions: readonly { readonly partition: number; readonly messages: readonly FetchedMessage[] }[];
  }[];
}

export class KafkaReader implements Reader {
  readonly #options: KafkaReaderOptions;
  readonly #values = new KafkaValues();
  readonly #lanes: ReadonlyMap<number, KafkaLane>;
  #cluster: Cluster;
  /** Leaders with a fetch under way: one each, and each goes on as soon as its own answer is there. */
  readonly #fetching = new Set<string>();
  /** Nothing is fetched until this time after a failure. */
  #pause: NodeJS.Timeout | null = null;
  #backoffMs = BACKOFF_MS.first;
  #failingSince: number | null = null;
  #closed = false;

  constructor(options: KafkaReaderOptions) {
    this.#options = options;
    this.#cluster = options.newCluster();
    this.#lanes = new Map(
      Array.from(options.from, ([partition, offset]) => [partition, new KafkaLane(offset, this.#values)]),
    );
  }

  /** Connects and begins to fetch; where that fails it is tried again like any fetch. */
  async start(): Promise<void> {
    try {
      await this.#connect();
      this.#pump();
    } catch (error) {
      this.#recoverFrom(error);
    }
  }

  get bufferedBytes(): number {
    let bytes = 0;
    for (const lane of this.#lanes.values()) bytes += lane.bytes;
    return bytes;
  }

  next(partition: number): Promise<LogRecord | null> {
    if (this.#closed) return Promise.resolve(null);
    const record = this.#lane(partition).take();
    this.#pump();
    return record;
  }

  seek(partition: number, offset: number): void {
    this.#lane(partition).seek(offset);
    this.#pump();
  }

  release({ value }: LogRecord): void {
    this.#values.release(value);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#pause !== null) clearTimeout(this.#pause);
    for (const lane of this.#lanes.values()) lane.close();
    this.#options.onClose(this);
    await this.#cluster.disconnect();
  }

  #lane(partition: number): KafkaLane {
    const lane = this.#lanes.get(partition);
    if (lane === undefined) throw new Error(`partition ${partition} is not among those this reader was opened for`);
    return lane;
  }

  /** Starts a fetch at every leader that has none under way and whose partitions have room. Cheap, called often. */
  #pump(): void {
    if (this.#closed || this.#pause !== null) return;
    const { topic, maxBytes } = this.#options;
    const hungry: number[] = [];
    for (const [partition, lane] of this.#lanes) {
      if (!lane.failed && lane.bytes <= maxBytes / 2) hungry.push(partition);
    }
    if (hungry.length === 0) return;
    try {
      const leaders = Object.entries(this.#cluster.findLeaderForPartitions(topic, hungry));
      if (leaders.length === 0) throw new Error(`no leader is known for '${topic}'`);
      for (const [leader, partitions] of leaders) {
        if (this.#fetching.has(leader)) continue;
        this.#fetching.add(leader);
        void this.#fetch(leader, partitions);
      }
    } catch (error) {
      this.#recoverFrom(error);
    }
  }

  async #fetch(leader: string, partitions: readonly number[]): Promise<void> {
    const { topic, maxBytes } = this.#options;
    const share = Math.max(PART_BYTES, FETCH_BYTES / partitions.length);
    const asked = partitions.map((partition) => {
      const { position, bytes } = this.#lane(partition);
      // A broker sends at least one record however large; with queues fetched below half, a queue holds at most
      // maxBytes, or half of it and one record.
      return { partition, fetchOffset: position, maxBytes: Math.max(1, Math.floor(Math.min(share, maxBytes - bytes))) };
    });
    try {
      const began = Date.now();
      const broker = await this.#cluster.findBroker({ nodeId: leader });
      const answer: FetchAnswer = await broker.fetch({
        maxWaitTime: MAX_WAIT_MS,
        minBytes: 1,
        maxBytes: asked.reduce((sum, part) => sum + part.maxBytes, 0),
        isolationLevel: 0,
        topics: [{ topic, partitions: asked.map((part) => ({ ...part, fetchOffset: String(part.fetchOffset) })) }],
      });
      const found = this.#accept(answer, new Map(asked.map((part) => [part.partition, part.fetchOffset])));
      this.#failingSince = null;
      this.#backoffMs = BACKOFF_MS.first;
      // Compaction leaves empty batches behind, which a broker sends at once and again and again.
      if (!found && Date.now() - began < MAX_WAIT_MS / 2) await this.#rest();
      this.#fetching.delete(leader);
      this.#pump();
    } catch (error) {
      this.#fetching.delete(leader);
      if (this.#closed) return;
      const { type, partition } = failureOf(error);
      const part = type === 'OFFSET_OUT_OF_RANGE' ? asked.find((each) => each.partition === partition) : undefined;
      if (part === undefined) this.#recoverFrom(error);
      else await this.#resolveRange(part.partition, part.fetchOffset);
    }
  }

  /** Whether the answer held anything. */
  #accept({ responses }: FetchAnswer, asked: ReadonlyMap<number, number>): boolean {
    if (this.#closed) return false;
    const parts = responses.flatMap(({ partitions }) => partitions);
    for (const { partition, messages } of parts)
      this.#lane(partition).offer(asked.get(partition) ?? Number.POSITIVE_INFINITY, messages);
    const all = parts.flatMap(({ messages }) => messages);
    // The lanes have copied what they took.
    for (const { value } of all) if (value !== null) giveBack(value);
    return all.length > 0;
  }

  /** A position that the log no longer holds goes on at the oldest record; one it does not hold yet is a Fault. */
  async #resolveRange(partition: number, position: number): Promise<void> {
    const { topic, counters, onEvent } = this.#options;
    try {
      const limits = [true, false].map(async (fromBeginning) => {
        const [found] = await this.#cluster.fetchTopicsOffset([{ topic, partitions: [{ partition }], fromBeginning }]);
        return Number(found?.partitions[0]?.offset);
      });
      const [begin = 0, end = 0] = await Promise.all(limits);
      const lane = this.#lane(partition);
      if (lane.position !== position) {
        this.#pump();
      } else if (position < begin) {
        lane.position = begin;
        counters.skippedToBegin++;
        onEvent(`${topic} partition ${partition}: offset ${position} is deleted, going on at ${begin}`);
        this.#pump();
      } else if (position > end) {
        lane.fail(offsetOutOfRange(topic, partition, position, end));
        this.#pump();
      } else {
        throw new Error(`offset ${position} was out of range and is not`);
      }
    } catch (error) {
      this.#recoverFrom(error);
    }
  }

  /** Waits, asks the cluster anew who leads, and fetches again; gives up when patience ends. */
  #recoverFrom(error: unknown): void {
    if (this.#closed || this.#pause !== null) return;
    const { topic, url, patienceMs, counters, onEvent, newCluster } = this.#options;
    this.#failingSince ??= Date.now();
    const waited = Date.now() - this.#failingSince;
    const failure = failureOf(error);
    const { type, message, refused } = failure;
    const refusal = refusalOf(failure, url, `reading ${topic}`);
    if (type === 'UNKNOWN_TOPIC_OR_PARTITION' && waited > UNKNOWN_TOPIC_MS) {
      this.#failAll(unknownTopic(url, topic));
      return;
    }
    if (refusal !== null || refused || waited > patienceMs) {
      this.#failAll(refusal ?? unreachable(url, Math.round(waited / 1000), error));
      return;
    }
    counters.reconnects++;
    if (waited === 0 || waited > 1000) onEvent(`reading ${topic}: fetching again after ${message}`);
    if (type === 'KafkaJSRequestTimeoutError') {
      // The connection may be dead without having closed, and kafkajs would go on with it.
      this.#cluster.disconnect().catch(() => undefined);
      this.#cluster = newCluster();
    }
    this.#pause = setTimeout(async () => {
      try {
        await this.#connect();
        this.#pause = null;
        this.#pump();
      } catch (again) {
        this.#pause = null;
        this.#recoverFrom(again);
      }
    }, this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MS.last);
  }

  async #connect(): Promise<void> {
    await this.#cluster.connect();
    await this.#cluster.addTargetTopic(this.#options.topic);
    await this.#cluster.refreshMetadata();
  }

  #rest(): Promise<void> {
    return new Promise((resolve) => {
      setTimeout(resolve, MAX_WAIT_MS);
    });
  }

  #failAll(fault: Fault): void {
    for (const lane of this.#lanes.values()) lane.fail(fault);
  }
}
