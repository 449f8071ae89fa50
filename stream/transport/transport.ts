// What a log must be able to do for the stream: append, read, seek, ends, delete below. `kafka://` and `log:` both do.

/** How a topic is kept. */
export interface TopicSpec {
  readonly name: string;
  readonly partitions: number;
  /**
   * `forever`: nothing is dropped but by `deleteBefore`.
   * `compact`: only the newest record of each key must stay.
   * `{ maxBytes }`: as `forever`, with a backstop: beyond so many bytes a partition the oldest may go.
   */
  readonly retention: 'forever' | 'compact' | { readonly maxBytes: number };
  /** Largest record in bytes that the topic must take. */
  readonly maxRecordBytes: number;
}

export interface LogRecord {
  readonly offset: number;
  readonly key: string | null;
  readonly value: Buffer;
}

/**
 * [begin, end) of what a partition holds: nothing below `begin` is retained, `end` is the next offset to be written. A
 * compacted topic may hold nothing at `begin` itself. Deletion moves `begin`; `end` never goes back.
 */
export interface Extent {
  readonly begin: number;
  readonly end: number;
}

/** Reads some partitions of one topic; every partition has its own position and its own bounded queue. */
export interface Reader {
  /**
   * The next record of a partition, or null after `close`. Waits at the end for more. After a deletion it goes on at
   * the oldest retained record, so the offset may be higher than asked for: callers check it. What was queued before
   * the deletion is still given out.
   * Rejects with Fault `transport-unreachable`, `unknown-topic` (the topic was deleted), `offset-out-of-range` or
   * `record-lost` (a record whose bytes went with a machine), after which it can be asked for the one that follows.
   */
  next(partition: number): Promise<LogRecord | null>;
  /**
   * Goes on at `offset`; what was queued is dropped. Below `begin` it goes on at `begin`; above `end` the next call of
   * `next` is rejected with Fault `offset-out-of-range`.
   */
  seek(partition: number, offset: number): void;
  /** The record was used: its value may become a later one's, so it is not to be read after it. None has to be released. */
  release(record: LogRecord): void;
  /** Bytes that are queued now, of all partitions: at most maxBytes each, or half of it and one record. */
  readonly bufferedBytes: number;
  close(): Promise<void>;
}

export interface ReaderOptions {
  readonly topic: string;
  /** Partition → first offset to read. Below `begin` it goes on at `begin`; above `end` is a Fault. */
  readonly from: ReadonlyMap<number, number>;
  /** Bound of each partition's queue in bytes; one record always fits. */
  readonly maxBytes: number;
}

export interface JoinOptions {
  /** Its partitions are shared among the members. */
  readonly topic: string;
  readonly group: string;
  /** What `members` shows of this member to others; short. */
  readonly about: string;
  /** Told which partitions this member owns from now on: once it has joined, and whenever that changes. */
  readonly onOwned: (partitions: ReadonlySet<number>) => void;
  /** The membership ended: what it owned goes to others. */
  readonly onFailure: (error: unknown) => void;
}

export interface Membership {
  /** Gives up what it owns, at once. */
  leave(): Promise<void>;
}

export interface Member {
  readonly id: string;
  /** Null while it is joining. */
  readonly about: string | null;
  /** Ascending. */
  readonly partitions: readonly number[];
}

export interface Transport {
  /** The URL it was opened with, secrets left out. */
  readonly url: string;
  /**
   * Creates what is missing, checks what exists (Fault `topic-mismatch` for its partition count, `topic-settings` for how
   * it is kept), and raises a backstop `{ maxBytes }` that is lower than asked for. Safe to race.
   */
  createTopics(topics: readonly TopicSpec[]): Promise<void>;
  /** Partition count, or null where there is no such topic. */
  partitions(topic: string): Promise<number | null>;
  /**
   * Appends one record and returns its offset once no end of a process can take it away; what survives the end of a machine
   * is said in README.md. The same record is retried until acknowledged, before
   * any other of that partition, so calls on one partition complete in order. The bytes must not change until then.
   * Faults: `unknown-topic`, `unknown-partition`, `record-too-large`, `key-missing` (a compacted topic), `key-too-long`
   * (512 bytes), `log-unusable`; `transport-unreachable` when patience ends, after which the record may or may not be
   * in the log.
   */
  append(topic: string, partition: number, value: Uint8Array, key?: string): Promise<number>;
  /** One extent a partition, by partition number. Fault `unknown-topic`. */
  ends(topic: string): Promise<Extent[]>;
  read(options: ReaderOptions): Promise<Reader>;
  /** Drops records below `offset` (clamped to the end). */
  deleteBefore(topic: string, partition: number, offset: number): Promise<void>;
  /**
   * Joins those who share a topic's partitions. Within seconds each partition has one owner, and when a member joins, leaves
   * or dies some change hands. Only about one owner at a time: whoever was paused owns until it is told otherwise, so what
   * owners do must stand two of them. Fault `unknown-topic`.
   */
  join(options: JoinOptions): Promise<Membership>;
  /** Who shares a topic's partitions now. */
  members(group: string): Promise<Member[]>;
  /** Removes the topics that exist of these. */
  deleteTopics(topics: readonly string[]): Promise<void>;
  /** What happened out of the ordinary: retries, reconnects. Shown, never silent. */
  readonly counters: Readonly<Record<string, number>>;
  close(): Promise<void>;
}

export interface TransportOptions {
  /** How long an unreachable log is retried before the Fault, ms; 120,000 unless given, and at most 8,000 at open. */
  readonly patienceMs?: number;
  /** Whether a `log:` folder that is not there is made; default true. Else Fault `log-missing`. */
  readonly create?: boolean;
  /** Told of each retry or reconnect, once. */
  readonly onEvent?: (event: string) => void;
}
