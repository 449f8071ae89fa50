// One partition as a reader sees it: what was fetched and not yet asked for, and who waits.

import type { Fault } from '#shards';
import { KafkaValues } from './kafka-values.ts';
import type { LogRecord } from './transport.ts';

interface Waiter {
  readonly resolve: (record: LogRecord | null) => void;
  readonly reject: (fault: Fault) => void;
}

/** A message as kafkajs decodes it: views into the answer that brought it. */
export interface FetchedMessage {
  readonly offset: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly isControlRecord?: boolean;
}

export class KafkaLane {
  /** Offset of the next record to be queued. */
  position: number;
  /** Value and key bytes that are queued. */
  bytes = 0;
  #queue: LogRecord[] = [];
  #waiters: Waiter[] = [];
  #fault: Fault | null = null;
  readonly #values: KafkaValues;

  constructor(position: number, values = new KafkaValues()) {
    this.position = position;
    this.#values = values;
  }

  get failed(): boolean {
    return this.#fault !== null;
  }

  take(): Promise<LogRecord | null> {
    const record = this.#queue.shift();
    if (record !== undefined) {
      this.bytes -= sizeOf(record);
      return Promise.resolve(record);
    }
    if (this.#fault !== null) return Promise.reject(this.#fault);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
    });
  }

  seek(offset: number): void {
    this.position = offset;
    this.bytes = 0;
    this.#queue = [];
    this.#fault = null;
  }

  /**
   * Takes what a fetch from `fetchOffset` brought, in offset order. Whatever happened in between (a seek, a lost
   * connection, a repeated fetch), nothing is taken twice and nothing is left out: a fetch that began above the
   * position is dropped, and so are messages below it.
   */
  offer(fetchOffset: number, messages: readonly FetchedMessage[]): void {
    if (fetchOffset > this.position) return;
    for (const { offset: text, key, value, isControlRecord } of messages) {
      const offset = Number(text);
      if (offset < this.position) continue;
      this.position = offset + 1;
      if (isControlRecord === true) continue;
      const copy = value === null ? Buffer.alloc(0) : this.#values.copy(value);
      this.#push({ offset, key: key === null ? null : key.toString(), value: copy });
    }
  }

  #push(record: LogRecord): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve(record);
      return;
    }
    this.#queue.push(record);
    this.bytes += sizeOf(record);
  }

  /** What is queued is still given out; then every call of `take` fails, until a seek. */
  fail(fault: Fault): void {
    this.#fault = fault;
    for (const { reject } of this.#waiters.splice(0)) reject(fault);
  }

  close(): void {
    this.seek(this.position);
    for (const { resolve } of this.#waiters.splice(0)) resolve(null);
  }
}

const sizeOf = ({ key, value }: LogRecord): number => value.length + (key?.length ?? 0);
