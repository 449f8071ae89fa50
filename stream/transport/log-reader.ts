// Reads the embedded log. It holds no queue: the page cache is one, so a record is copied when asked for.

import type { Key } from 'lmdb';
import { Fault } from '#shards';
import { RecordMemory } from '../record-memory.ts';
import { offsetOutOfRange, recordLost, unknownPartition, unknownTopic } from './faults.ts';
import { decodePlace, INLINE_BYTES, isMissing, type SegmentReader } from './log-segments.ts';
import { type LogStore, type RecordKey, unusable } from './log-store.ts';
import type { LogRecord, Reader, ReaderOptions } from './transport.ts';

/** Other processes append too and cannot call us, so a waiting reader polls: at first after 1 ms, then twice that, … */
const POLL_MS = { first: 1, last: 20 };

/** Memory is allocated in multiples, so that a slightly larger record finds that of a smaller one large enough. */
const GRANULE = 256 * 1024;

export interface LogReaderOptions extends ReaderOptions {
  readonly store: LogStore;
  readonly segments: SegmentReader;
  readonly url: string;
  readonly onClose: (reader: LogReader) => void;
}

export class LogReader implements Reader {
  readonly #store: LogStore;
  readonly #segments: SegmentReader;
  readonly #url: string;
  readonly #topic: string;
  readonly #id: number;
  readonly #positions: Map<number, number>;
  readonly #onClose: (reader: LogReader) => void;
  /** Of released values: new memory of that size costs more, page for page, than reading into it. */
  readonly #memory = new RecordMemory();
  readonly #lent = new WeakSet<ArrayBuffer>();
  #pollMs = POLL_MS.first;
  /** What the waiting calls of `next` await together, and how to end it early. */
  #change: Promise<void> | null = null;
  #endChange: () => void = () => undefined;
  #closed = false;

  /** @throws Fault `unknown-topic`, `unknown-partition`, `offset-out-of-range`. */
  constructor({ store, segments, url, topic, from, onClose }: LogReaderOptions) {
    const entry = store.topics.get(topic);
    if (entry === undefined) throw unknownTopic(url, topic);
    for (const [partition, offset] of from) {
      if (partition >= entry.partitions) throw unknownPartition(topic, partition, entry.partitions);
      const end = store.states.get([entry.id, partition])?.end ?? 0;
      if (offset > end) throw offsetOutOfRange(topic, partition, offset, end);
    }
    this.#store = store;
    this.#segments = segments;
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

  release({ value }: LogRecord): void {
    const memory = value.buffer as ArrayBuffer;
    if (this.#lent.delete(memory)) this.#memory.give(memory);
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
      const value = this.#valueOf(found as RecordKey);
      if (value === null) return this.#take(partition);
      this.#positions.set(partition, offset + 1);
      return { offset, key: key ?? null, value };
    }
    if (this.#store.topics.get(this.#topic)?.id !== this.#id) throw unknownTopic(this.#url, this.#topic);
    const logEnd = this.#store.states.get([this.#id, partition])?.end ?? 0;
    if (position > logEnd) throw offsetOutOfRange(this.#topic, partition, position, logEnd);
    return null;
  }

  /** Null where the record was deleted since this snapshot: its segment went with it. */
  #valueOf(record: RecordKey): Buffer | null {
    const [, partition, offset, bytes] = record;
    const found = this.#store.records.getBinary(record as Key[]);
    // Both reads are of one snapshot: a found key has its value.
    if (found === undefined) throw new Error(`${this.#topic}: offset ${offset} of partition ${partition} vanished`);
    if (bytes <= INLINE_BYTES) return Buffer.from(found.buffer, found.byteOffset, found.byteLength);
    const place = decodePlace(found);
    try {
      const value = this.#allocate(bytes);
      const there = this.#segments.read(place, value);
      if (there === bytes) return value;
      this.#positions.set(partition, offset + 1);
      throw recordLost(this.#topic, partition, offset, `${there} of ${bytes} bytes in segment ${place.segment}`);
    } catch (error) {
      if (error instanceof Fault) throw error;
      if (!isMissing(error)) throw unusable(this.#url, error);
      this.#store.root.resetReadTxn();
      if (!this.#store.records.doesExist(record as Key[])) return null;
      this.#positions.set(partition, offset + 1);
      throw recordLost(this.#topic, partition, offset, `no segment ${place.segment}`);
    }
  }

  #allocate(bytes: number): Buffer {
    const old = this.#memory.take();
    const memory = old && old.byteLength >= bytes ? old : new ArrayBuffer(Math.ceil(bytes / GRANULE) * GRANULE);
    this.#lent.add(memory);
    return Buffer.from(memory, 0, bytes);
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
