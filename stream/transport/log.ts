// The embedded log, `log:DIR`: an append-only log over LMDB that several processes write and read at once.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Key } from 'lmdb';
import { Fault } from '#shards';
import {
  checkKey,
  closedTransport,
  keyMissing,
  recordTooLarge,
  topicMismatch,
  unknownPartition,
  unknownTopic,
} from './faults.ts';
import { Commits } from './log-commits.ts';
import { LeaseMembership, leaseMembers } from './log-leases.ts';
import { LogReader } from './log-reader.ts';
import { decodePlace, encodePlace, INLINE_BYTES, type Place, SegmentReader, SegmentWriter } from './log-segments.ts';
import {
  allocateSegment,
  type LogStore,
  openStore,
  type PartitionState,
  type RecordKey,
  type TopicEntry,
  unusable,
} from './log-store.ts';
import type {
  Extent,
  JoinOptions,
  Member,
  Membership,
  Reader,
  ReaderOptions,
  TopicSpec,
  Transport,
  TransportOptions,
} from './transport.ts';

const EMPTY: PartitionState = { begin: 0, end: 0, bytes: 0 };
/** Records removed in one transaction: a writer elsewhere waits for it. */
const REMOVAL_BATCH = 1000;

/** @throws Fault `not-a-log`, `log-unusable`. */
export async function openLog(
  directory: string,
  options: TransportOptions = {},
  mapBytes?: number,
): Promise<Transport> {
  if (options.create === false && !existsSync(join(directory, 'data.mdb'))) throw logMissing(directory);
  return new LogTransport(directory, await openStore(directory, mapBytes), options);
}

/** Whether a backstop is asked for that is above the one there is. */
function raises(wanted: TopicSpec['retention'], found: TopicSpec['retention']): boolean {
  return typeof wanted === 'object' && typeof found === 'object' && wanted.maxBytes > found.maxBytes;
}

const logMissing = (directory: string): Fault =>
  new Fault({
    code: 'log-missing',
    received: `no log at ${directory}`,
    expected: "the folder of a log that 'stream produce' has begun",
    remedy: 'correct --transport log:DIR, or start the producer first',
  });

/**
 * Reads begin with `resetReadTxn`: lmdb keeps a snapshot for about a millisecond, and what another process (or another
 * transport of this one) had committed by then would be missed.
 */
class LogTransport implements Transport {
  readonly url: string;
  readonly counters = { backstopDropped: 0, staleReaders: 0 };
  readonly #store: LogStore;
  readonly #onEvent: (event: string) => void;
  readonly #readers = new Set<LogReader>();
  readonly #memberships = new Set<LeaseMembership>();
  readonly #commits: Commits;
  readonly #segments: SegmentReader;
  #closed = false;

  constructor(directory: string, store: LogStore, { onEvent = () => undefined }: TransportOptions) {
    this.url = `log:${directory}`;
    this.#store = store;
    this.#onEvent = onEvent;
    const writer = new SegmentWriter(store.folder, () => allocateSegment(store));
    this.#commits = new Commits(store, writer, (error) => unusable(directory, error));
    this.#segments = new SegmentReader(store.folder);
  }

  async createTopics(specs: readonly TopicSpec[]): Promise<void> {
    const { topics, about } = this.#store;
    await this.#transaction(() => {
      const missing = specs.filter(({ name, partitions }) => {
        const found = topics.get(name);
        if (found !== undefined && found.partitions !== partitions)
          throw topicMismatch(name, found.partitions, partitions);
        return found === undefined;
      });
      for (const { name, retention } of specs) {
        const found = topics.get(name);
        if (found && raises(retention, found.retention)) topics.putSync(name, { ...found, retention });
      }
      let id = Number(about.get('nextTopic') ?? 1);
      for (const { name, partitions, retention, maxRecordBytes } of missing) {
        topics.putSync(name, { id: id++, partitions, retention, maxRecordBytes });
      }
      about.putSync('nextTopic', id);
    });
  }

  async partitions(topic: string): Promise<number | null> {
    this.#assertOpen();
    this.#store.root.resetReadTxn();
    return this.#store.topics.get(topic)?.partitions ?? null;
  }

  async append(topic: string, partition: number, value: Uint8Array, key?: string): Promise<number> {
    checkKey(topic, key);
    const bytes = value.byteLength;
    const topicFor = () => {
      const entry = this.#topic(topic, partition);
      if (bytes > entry.maxRecordBytes) throw recordTooLarge(topic, bytes);
      return entry;
    };
    const large = bytes > INLINE_BYTES;
    if (large) {
      // Before it is written to a segment; and again in the transaction, as the topic may go meanwhile.
      this.#assertOpen();
      this.#store.root.resetReadTxn();
      topicFor();
    }
    const store = (place: Place | null) => {
      const { id, retention } = topicFor();
      if (retention === 'compact') {
        if (key === undefined) throw keyMissing(topic);
        this.#forgetOlder(id, partition, key);
      }
      const { begin, end, bytes: before } = this.#state(id, partition);
      const record: RecordKey = key === undefined ? [id, partition, end, bytes] : [id, partition, end, bytes, key];
      if (place) this.#commits.count(place.segment, 1);
      this.#store.records.putSync(record as Key[], place ? encodePlace(place) : (value as Buffer));
      if (retention === 'compact' && key !== undefined) {
        this.#store.newest.putSync([id, partition, key], { offset: end, bytes });
      }
      this.#store.states.putSync([id, partition], { begin, end: end + 1, bytes: before + bytes });
      if (typeof retention === 'object') this.#enforceBackstop(id, partition, retention.maxBytes);
      return end;
    };
    const offset = await this.#transaction(store, large ? value : null);
    for (const reader of this.#readers) reader.wake();
    return offset;
  }

  async ends(topic: string): Promise<Extent[]> {
    this.#assertOpen();
    this.#store.root.resetReadTxn();
    const { id, partitions } = this.#topic(topic, 0);
    return Array.from({ length: partitions }, (_, partition) => {
      const { begin, end } = this.#state(id, partition);
      return { begin, end };
    });
  }

  async read(options: ReaderOptions): Promise<Reader> {
    this.#assertOpen();
    this.#store.root.resetReadTxn();
    const onClose = (reader: LogReader) => this.#readers.delete(reader);
    const reader = new LogReader({ ...options, store: this.#store, segments: this.#segments, url: this.url, onClose });
    this.#readers.add(reader);
    return reader;
  }

  async deleteBefore(topic: string, partition: number, offset: number): Promise<void> {
    for (let done = false; !done; ) {
      done = await this.#transaction(() => this.#removeBelow(this.#topic(topic, partition).id, partition, offset));
    }
    await this.#commits.removed();
    // A killed reader's slot in the lock file pins the pages it saw, and the file would grow for ever.
    const stale = this.#store.root.readerCheck();
    if (stale > 0) {
      this.counters.staleReaders += stale;
      this.#onEvent(`freed ${stale} reader slots of processes that died`);
    }
  }

  async join(options: JoinOptions): Promise<Membership> {
    this.#assertOpen();
    this.#store.root.resetReadTxn();
    const { partitions } = this.#topic(options.topic, 0);
    const membership = new LeaseMembership({
      ...options,
      tables: this.#store,
      partitions,
      transaction: (body) => this.#transaction(body),
    });
    this.#memberships.add(membership);
    return membership;
  }

  async members(group: string): Promise<Member[]> {
    this.#assertOpen();
    this.#store.root.resetReadTxn();
    return leaseMembers(this.#store, group);
  }

  async deleteTopics(names: readonly string[]): Promise<void> {
    for (const name of names) {
      this.#store.root.resetReadTxn();
      const entry = this.#store.topics.get(name);
      if (entry === undefined) continue;
      for (let partition = 0; partition < entry.partitions; partition++) {
        for (let done = false; !done; ) {
          done = await this.#transaction(() => this.#removeBelow(entry.id, partition, Number.MAX_SAFE_INTEGER));
        }
      }
      await this.#transaction(() => this.#removeTopic(name, entry));
    }
    await this.#commits.removed();
    for (const reader of this.#readers) reader.wake();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await Promise.all([...this.#memberships].map((membership) => membership.leave()));
    this.#closed = true;
    await this.#commits.close();
    await Promise.all([...this.#readers].map((reader) => reader.close()));
    this.#segments.close();
    await this.#store.root.close();
  }

  #assertOpen(): void {
    if (this.#closed) throw closedTransport(this.url);
  }

  #transaction<T>(body: (place: Place | null) => T, value: Uint8Array | null = null): Promise<T> {
    this.#assertOpen();
    return this.#commits.run(body, value);
  }

  #topic(name: string, partition: number): TopicEntry {
    const entry = this.#store.topics.get(name);
    if (entry === undefined) throw unknownTopic(this.url, name);
    if (partition >= entry.partitions) throw unknownPartition(name, partition, entry.partitions);
    return entry;
  }

  #state(id: number, partition: number): PartitionState {
    return this.#store.states.get([id, partition]) ?? EMPTY;
  }

  // What follows runs inside a write transaction.

  /** Removes the record that held a compacted topic's key until now. */
  #forgetOlder(id: number, partition: number, key: string): void {
    const { newest, states } = this.#store;
    const older = newest.get([id, partition, key]);
    if (older === undefined) return;
    this.#removeValue([id, partition, older.offset, older.bytes, key]);
    const state = this.#state(id, partition);
    states.putSync([id, partition], { ...state, bytes: state.bytes - older.bytes });
  }

  /** Removes some records below `offset` and moves `begin`; whether none is left there. */
  #removeBelow(id: number, partition: number, offset: number): boolean {
    const { states } = this.#store;
    const state = this.#state(id, partition);
    const target = Math.min(offset, state.end);
    if (target <= state.begin) return true;
    const found = this.#oldest(id, partition, target, REMOVAL_BATCH);
    const bytes = this.#remove(found);
    const last = found.at(-1);
    const done = last === undefined || found.length < REMOVAL_BATCH;
    states.putSync([id, partition], { ...state, begin: done ? target : last[2] + 1, bytes: state.bytes - bytes });
    return done;
  }

  /** `{ maxBytes }` is a backstop against a full disk: whoever owns the partition deletes long before. */
  #enforceBackstop(id: number, partition: number, maxBytes: number): void {
    for (let state = this.#state(id, partition); state.bytes > maxBytes && state.begin < state.end - 1; ) {
      const found = this.#oldest(id, partition, state.end - 1, 1);
      const [oldest] = found;
      if (oldest === undefined) return;
      state = { ...state, begin: oldest[2] + 1, bytes: state.bytes - this.#remove(found) };
      this.#store.states.putSync([id, partition], state);
      this.counters.backstopDropped++;
      if (this.counters.backstopDropped === 1) this.#onEvent(`${this.url}: the size backstop dropped a record`);
    }
  }

  #oldest(id: number, partition: number, end: number, limit?: number): RecordKey[] {
    const range = { start: [id, partition], end: [id, partition, end], ...(limit === undefined ? {} : { limit }) };
    return Array.from(this.#store.records.getKeys(range), (key) => key as RecordKey);
  }

  /** The value bytes that went. */
  #remove(keys: readonly RecordKey[]): number {
    const { newest } = this.#store;
    let removed = 0;
    for (const record of keys) {
      const [id, partition, offset, bytes, key] = record;
      this.#removeValue(record);
      if (key !== undefined && newest.get([id, partition, key])?.offset === offset)
        newest.removeSync([id, partition, key]);
      removed += bytes;
    }
    return removed;
  }

  #removeValue(record: RecordKey): void {
    const { records } = this.#store;
    const [, , , bytes] = record;
    const place = bytes > INLINE_BYTES ? records.getBinary(record as Key[]) : undefined;
    if (place) this.#commits.count(decodePlace(place).segment, -1);
    records.removeSync(record as Key[]);
  }

  #removeTopic(name: string, { id, partitions }: TopicEntry): void {
    const { topics, states } = this.#store;
    if (topics.get(name)?.id !== id) return;
    topics.removeSync(name);
    for (let partition = 0; partition < partitions; partition++) {
      // Appended by another process since the emptying above, so few.
      this.#remove(this.#oldest(id, partition, Number.MAX_SAFE_INTEGER));
      states.removeSync([id, partition]);
    }
  }
}
