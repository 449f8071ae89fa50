// Reads the embedded log. It holds no queue: LMDB's memory map is the page cache, so a record is copied when asked for.

import { offsetOutOfRange, unknownPartition, unknownTopic } from './faults.ts';
import type { LogStore, RecordKey } from './log-store.ts';
import type { LogRecord, Reader, ReaderOptions } from './transport.ts';

/** Other processes append too and cannot call us, so a waiting reader polls: at first after 1 ms, then twice that, … */
const POLL_MS = { first: 1, last: 20 };

export interface LogReaderOptions extends ReaderOptions {
  readonly store: LogStore;
  readonly url: string;
  readonly onClose: (reader: LogReader) => void;
}

export class LogReader implements Reader {
  readonly #store: LogStore;
  readonly #url: string;
  readonly #topic: string;
  readonly #id: number;
  readonly #positions: Map<number, number>;
  readonly #onClose: (reader: LogReader) => void;
  #pollMs = POLL_MS.first;
  /** What the waiting calls of `next` await together, and how to end it early. */
  #change: Promise<void> | null = null;
  #endChange: () => void = () => undefined;
  #closed = false;

  /** @throws Fault `unknown-topic`, `unknown-partition`, `offset-out-of-range`. */
  constructor({ store, url, topic, from, onClose }: LogReaderOptions) {
    const entry = store.topics.get(topic);
    if (entry === undefined) throw unknownTopic(url, topic);
    for (const [partition, offset] of from) {
      if (partition >= entry.partitions) throw unknownPartition(topic, partition, entry.partitions);
      const end = store.states.get([entry.id, partition])?.end ?? 0;
      if (offset > end) throw offsetOutOfRange(topic, partition, offset, end);
    }
    this.#store = store;
    this.#url = url;
    this.#topic = topic;
    this.#id = entry.id;
    this.#positions = new Map(from);
    this.#onClose = onClose;
  }

  get bufferedBytes(): number {
    return 0;
  }

  async next(partition: number): Promise<LogRecord | null> {
    while (!this.#closed) {
      const record = this.#take(partition);
      if (record !== null) {
        this.#pollMs = POLL_MS.first;
        return record;
      }
      await this.#nextChange();
    }
    return null;
  }

  seek(partition: number, offset: number): void {
    this.#position(partition);
    this.#positions.set(partition, offset);
    this.wake();
  }

  /** Something may be new: an append of this process, a seek, the end. */
  wake(): void {
    this.#pollMs = POLL_MS.first;
    this.#endChange();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.wake();
    this.#onClose(this);
  }

  #position(partition: number): number {
    const position = this.#positions.get(partition);
    if (position === undefined) throw new Error(`partition ${partition} is not among those this reader was opened for`);
    return position;
  }

  /** The first retained record at or above the position, whichever was deleted or compacted away before it. */
  #take(partition: number): LogRecord | null {
    const position = this.#position(partition);
    this.#store.root.resetReadTxn();
    const start = [this.#id, partition, position];
    const end = [this.#id, partition + 1];
    for (const found of this.#store.records.getKeys({ start, end, limit: 1 })) {
      const [, , offset, , key] = found as RecordKey;
      const value = this.#store.records.getBinary(found);
      // Both reads are of one snapshot: a found key has its value.
      if (value === undefined) throw new Error(`${this.#topic}: offset ${offset} of partition ${partition} vanished`);
      this.#positions.set(partition, offset + 1);
      return { offset, key: key ?? null, value: Buffer.from(value.buffer, value.byteOffset, value.byteLength) };
    }
    if (this.#store.topics.get(this.#topic)?.id !== this.#id) throw unknownTopic(this.#url, this.#topic);
    const logEnd = this.#store.states.get([this.#id, partition])?.end ?? 0;
    if (position > logEnd) throw offsetOutOfRange(this.#topic, partition, position, logEnd);
    return null;
  }

  /** One timer for all partitions that wait. */
  #nextChange(): Promise<void> {
    this.#change ??= new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#change = null;
        resolve();
      };
      const timer = setTimeout(end, this.#pollMs);
      this.#endChange = end;
      this.#pollMs = Math.min(this.#pollMs * 2, POLL_MS.last);
    });
    return this.#change;
  }
}
