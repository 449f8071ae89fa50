// Appends to Kafka: one idempotent producer a lane, one record at a time, the same record until it is acknowledged.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Producer, RecordMetadata } from 'kafkajs';
import { Fault } from '#shards';
import { closedTransport, keyMissing, recordTooLarge, unknownTopic, unreachable } from './faults.ts';
import { failureOf, type KafkaClient, type KafkaFailure, UNKNOWN_TOPIC_MS } from './kafka-client.ts';
import { letGo } from './kafka-in-place.ts';
import { refusalOf } from './kafka-refusals.ts';

/** A connection each, so more lanes share. Measured with 4 lanes: 1.5 to 1.7 times the rate of one for all. */
const PRODUCERS = 8;
const BACKOFF_MS = { first: 25, last: 1000 };

/**
 * After these the producer's sequence numbers and the broker's no longer agree (or its connection is dead without
 * having closed), so it gets a new id. What it sent last may then stand in the log twice, which readers skip (law 3).
 */
const LOST_PRODUCER = new Set([
  'DUPLICATE_SEQUENCE_NUMBER',
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'PRODUCER_FENCED',
  'KafkaJSRequestTimeoutError',
]);

export interface AppendCounters {
  retries: number;
  duplicateSequence: number;
  reappended: number;
  producersReplaced: number;
}

export interface KafkaProducersOptions {
  readonly client: KafkaClient;
  readonly url: string;
  readonly patienceMs: number;
  readonly counters: AppendCounters;
  readonly onEvent: (event: string) => void;
  /** @throws Fault where there is no such topic or partition. */
  readonly check: (topic: string, partition: number) => Promise<void>;
  /** Asks the cluster whether the topic is there. */
  readonly topicExists: (topic: string) => Promise<boolean>;
}

export interface Append {
  readonly topic: string;
  readonly partition: number;
  readonly value: Buffer;
  readonly key: string | null;
}

interface Slot {
  readonly producer: Producer;
  readonly connected: Promise<void>;
  sending: number;
  retired: boolean;
}

export class KafkaProducers {
  readonly #options: KafkaProducersOptions;
  readonly #slots = new Map<number, Slot>();
  /** Partition number → its last append. kafkajs loses records with more than one outstanding on a partition. */
  readonly #tails = new Map<number, Promise<unknown>>();
  #closed = false;

  constructor(options: KafkaProducersOptions) {
    this.#options = options;
  }

  /** The record's offset, once all in-sync replicas have it. Appends of one partition number queue, on any topic. */
  append(record: Append): Promise<number> {
    const before = this.#tails.get(record.partition) ?? Promise.resolve();
    const appended = before.then(() => this.#send(record)).finally(() => letGo(record.value));
    // The caller gets the error; the queue only needs to know that the record is done with.
    const tail = appended.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(record.partition, tail);
    return appended;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#slots.values()].map(({ producer }) => producer.disconnect()));
  }

  async #send(record: Append): Promise<number> {
    const { counters, onEvent, url, check } = this.#options;
    // In the queue, not before it, so that the calls' order stays. kafkajs answers a send to a missing partition with
    // nothing at all.
    await check(record.topic, record.partition);
    const since = Date.now();
    const place = `${record.topic} partition ${record.partition}`;
    for (let backoff = BACKOFF_MS.first; ; backoff = Math.min(backoff * 2, BACKOFF_MS.last)) {
      if (this.#closed) throw closedTransport(url);
      try {
        const offset = await this.#sendOnce(record);
        if (offset !== null) return offset;
        // Acknowledged as a duplicate whose place the broker no longer knows: a second copy has a known one.
        counters.reappended++;
        onEvent(`${place}: acknowledged without an offset, appended again`);
      } catch (error) {
        const failure = failureOf(error);
        const waited = Date.now() - since;
        await this.#judge(record, failure, waited, error);
        counters.retries++;
        if (backoff === BACKOFF_MS.first || waited > 1000) onEvent(`${place}: retrying after ${failure.message}`);
        await sleep(backoff);
      }
    }
  }

  /** @throws Fault where another try is of no use. */
  async #judge(record: Append, failure: KafkaFailure, waitedMs: number, cause: unknown): Promise<void> {
    const { counters, patienceMs, topicExists, url } = this.#options;
    const { topic, partition, value, key } = record;
    if (failure.type === 'MESSAGE_TOO_LARGE' || failure.type === 'RECORD_LIST_TOO_LARGE') {
      throw recordTooLarge(topic, value.length, cause);
    }
    if (key === null && failure.type === 'INVALID_RECORD') throw keyMissing(topic);
    const refusal = refusalOf(failure, url, `appending to ${topic}`);
    if (refusal !== null) throw refusal;
    if (failure.refused) throw refused(record, failure, cause);
    if (failure.type === 'UNKNOWN_TOPIC_OR_PARTITION') {
      if (waitedMs > UNKNOWN_TOPIC_MS && !(await topicExists(topic))) throw unknownTopic(url, topic);
      // kafkajs asks for all topics a producer ever wrote to at once, so another one that was deleted spoils this one.
      this.#retire(partition);
    }
    if (LOST_PRODUCER.has(failure.type)) {
      if (failure.type === 'DUPLICATE_SEQUENCE_NUMBER') counters.duplicateSequence++;
      this.#retire(partition);
    }
    if (waitedMs > patienceMs) throw unreachable(url, Math.round(waitedMs / 1000), cause);
  }

  async #sendOnce({ topic, partition, value, key }: Append): Promise<number | null> {
    const slot = this.#slot(partition);
    slot.sending++;
    try {
      await slot.connected;
      // One record in a send is one batch: several of a megabyte would exceed max.message.bytes together.
      const answers = await slot.producer.send({
        topic,
        acks: -1,
        timeout: 10_000,
        messages: [{ partition, key, value }],
      });
      return offsetIn(answers, partition);
    } finally {
      slot.sending--;
      this.#dropIfRetired(slot);
    }
  }

  #slot(partition: number): Slot {
    const index = partition % PRODUCERS;
    const found = this.#slots.get(index);
    if (found !== undefined) return found;
    const { kafka, retry } = this.#options.client;
    const producer = kafka.producer({ idempotent: true, allowAutoTopicCreation: false, retry });
    const slot: Slot = { producer, connected: producer.connect(), sending: 0, retired: false };
    this.#slots.set(index, slot);
    // A producer that never connected has sent nothing: the next try makes another.
    slot.connected.catch(() => {
      if (this.#slots.get(index) === slot) this.#slots.delete(index);
      slot.retired = true;
      this.#dropIfRetired(slot);
    });
    return slot;
  }

  #retire(partition: number): void {
    const index = partition % PRODUCERS;
    const slot = this.#slots.get(index);
    if (slot === undefined) return;
    this.#slots.delete(index);
    this.#options.counters.producersReplaced++;
    slot.retired = true;
    this.#dropIfRetired(slot);
  }

  /** Other lanes may still wait for this producer's answers. */
  #dropIfRetired(slot: Slot): void {
    if (!slot.retired || slot.sending > 0) return;
    // Best effort: a connection that is already gone cannot be closed, and the transport's end closes every socket.
    slot.producer.disconnect().catch(() => undefined);
  }
}

/** The base offset of the one batch that was sent, or null where the answer holds none. */
function offsetIn(answers: readonly (RecordMetadata | null)[], partition: number): number | null {
  const offset = Number(answers.find((answer) => answer?.partition === partition)?.baseOffset ?? -1);
  return Number.isSafeInteger(offset) && offset >= 0 ? offset : null;
}

const refused = ({ topic, partition }: Append, { type, message }: KafkaFailure, cause: unknown): Fault =>
  new Fault({
    code: 'append-refused',
    received: `${type} for '${topic}' partition ${partition}: ${message}`,
    expected: 'a broker that takes the record',
    remedy: "look at the topic's settings and the rights of this client",
    cause,
  });
