// The embedded log's LMDB environment: which tables there are, with which options it is opened, and what is not a log.

import {
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Database, Key, RootDatabase } from 'lmdb';
import { Fault } from '#shards';
import { reason } from './faults.ts';
import type { LeaseTables } from './log-leases.ts';
import { Reserve } from './log-reserve.ts';
import { removeStrangers } from './log-segments.ts';
import type { TopicSpec } from './transport.ts';

/** Version of the tables below; another one is refused by name. */
const FORMAT = 'medium-recipe-log-2';

export interface TopicEntry {
  /** Never used twice, so that a topic made anew under an old name shares nothing with it. */
  readonly id: number;
  readonly partitions: number;
  readonly retention: TopicSpec['retention'];
  readonly maxRecordBytes: number;
}

/** What a partition holds. Kept apart from the records, so that offsets go on when all of them are deleted. */
export interface PartitionState {
  readonly begin: number;
  readonly end: number;
  /** Value bytes retained. */
  readonly bytes: number;
}

/**
 * [topic id, partition, offset, value bytes, and the record's key where it has one]. The LMDB key holds everything but the
 * bytes: sizes are known without touching the value. That is the raw bytes, or above INLINE_BYTES the place in a segment.
 */
export type RecordKey = [topic: number, partition: number, offset: number, bytes: number, key?: string];

export interface LogStore extends LeaseTables {
  readonly root: RootDatabase<string, string>;
  readonly topics: Database<TopicEntry, string>;
  readonly states: Database<PartitionState, [topic: number, partition: number]>;
  readonly records: Database<Buffer, Key[]>;
  /** Compacted topics only: [topic id, partition, key] → where the key's newest record is. */
  readonly newest: Database<{ offset: number; bytes: number }, [topic: number, partition: number, key: string]>;
  /** Segment → how many records lie in it. */
  readonly segments: Database<number, number>;
  /** The segments' folder. */
  readonly folder: string;
  /** To be ensured in every write transaction. */
  readonly reserve: Reserve;
  /** `format`, `nextTopic` and `nextSegment`. */
  readonly about: Database<string | number, string>;
}

/** 0xBEEFC0DE, little-endian as on every machine that lmdb is built for. */
const MAGIC = Buffer.from('dec0efbe', 'hex');

/**
 * Address space, not disk: the file grows as it is written. Large, so that remapping is rare; what is above it lmdb maps as it
 * comes, also while two processes append.
 */
const MAP_BYTES = 64 * 2 ** 30;

/** At least what LMDB wants for `maxReaders`, on every machine. */
const LOCK_BYTES = 48 * 1024;
/** What the tables of a new log take at most, before anything is in them. */
const NEW_LOG_BYTES = 256 * 1024;
/** Two pages with LMDB's meta data. */
const LEAST_BYTES = 8192;

const TABLES = ['topics', 'states', 'records', 'newest', 'segments', 'members', 'leases', 'about'];

/**
 * Opens or creates the log in `directory`.
 * @throws Fault `not-a-log` where something else is there, `log-unusable` where it cannot be opened or written.
 */
export async function openStore(directory: string, mapBytes = MAP_BYTES): Promise<LogStore> {
  const data = join(directory, 'data.mdb');
  const fresh = checkDirectory(directory, data);
  if (fresh) makeRoom(directory);
  const { open } = await import('lmdb');
  let root: RootDatabase<string, string>;
  try {
    root = open<string, string>({
      path: directory,
      noSubdir: false,
      maxDbs: TABLES.length,
      encoding: 'string',
      mapSize: mapBytes,
      // Off: what is committed is synced. With lmdb's overlapping sync a commit ends before the disk has it, for no gain in
      // throughput here.
      overlappingSync: false,
      // Each process takes one slot a thread; producers, trainers and `status` together stay far below this.
      maxReaders: 256,
    });
  } catch (error) {
    throw isForeign(error) ? notALog(directory, reason(error)) : unusable(directory, error);
  }
  try {
    if (!fresh) refuseForeignTables(directory, root);
    const about = root.openDB<string | number, string>({ name: 'about', encoding: 'json' });
    const reserve = new Reserve(directory, root);
    const format = root.transactionSync(() => {
      const found = about.get('format');
      if (found !== undefined) return found;
      reserve.ensure(1);
      about.putSync('format', FORMAT);
      return FORMAT;
    });
    if (format !== FORMAT) throw notALog(directory, `format ${format}`);
    const store: LogStore = {
      root,
      topics: root.openDB({ name: 'topics', encoding: 'json' }),
      states: root.openDB({ name: 'states', encoding: 'json' }),
      records: root.openDB({ name: 'records', encoding: 'binary' }),
      newest: root.openDB({ name: 'newest', encoding: 'json' }),
      segments: root.openDB({ name: 'segments', encoding: 'json' }),
      members: root.openDB({ name: 'members', encoding: 'json' }),
      leases: root.openDB({ name: 'leases', encoding: 'json' }),
      folder: join(directory, 'segments'),
      reserve,
      about,
    };
    sweep(store);
    return store;
  } catch (error) {
    await root.close();
    throw error instanceof Fault ? error : unusable(directory, error);
  }
}

/** Removes what killed writers left: rows without records, then files without a row. Few, so also where no reserve can be had. */
function sweep({ root, segments, folder }: LogStore): void {
  root.transactionSync(() => {
    for (const { key, value } of [...segments.getRange()]) if (value === 0) segments.removeSync(key);
  });
  removeStrangers(folder, (segment) => {
    root.resetReadTxn();
    return segments.get(segment) !== undefined;
  });
}

/** Makes the row of a new segment. */
export function allocateSegment({ root, reserve, about, segments }: LogStore): number {
  return root.transactionSync(() => {
    reserve.ensure(1);
    const id = Number(about.get('nextSegment') ?? 1);
    about.putSync('nextSegment', id + 1);
    segments.putSync(id, 0);
    return id;
  });
}

/** Whether there is no log yet in the directory, which is made where it is missing. */
function checkDirectory(directory: string, data: string): boolean {
  try {
    mkdirSync(directory, { recursive: true });
    const entries = readdirSync(directory);
    if (entries.length === 0) return true;
    // Another process may be between making its lock file and its data file.
    if (entries.every((name) => name.startsWith('lock.mdb'))) return true;
    if (!existsSync(data)) throw notALog(directory, `a folder with ${entries[0]} and no data.mdb`);
    return isUnwritten(directory, data);
  } catch (error) {
    if (error instanceof Fault) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    throw code === 'EEXIST' || code === 'ENOTDIR' ? notALog(directory, 'a file') : unusable(directory, error);
  }
}

/**
 * On a full disk lmdb dies of a signal where it begins a log: of data pages that it cannot write, of a hole in the lock file,
 * which it writes to through a map. So there is room first, and a lock file without holes, which appears whole: another
 * process may be opening it.
 */
function makeRoom(directory: string): void {
  const lock = join(directory, 'lock.mdb');
  const mine = `${lock}.${process.pid}`;
  try {
    writeFileSync(mine, Buffer.alloc(LOCK_BYTES + NEW_LOG_BYTES));
    truncateSync(mine, LOCK_BYTES);
    linkUnlessThere(mine, lock);
  } catch (error) {
    throw unusable(directory, error);
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Where the file system has no links LMDB makes its own file. */
function linkUnlessThere(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['EEXIST', 'EPERM', 'ENOTSUP', 'ENOSYS'].includes(code)) throw error;
  }
}

/** LMDB's magic stands in the first page's meta data. Checked here because lmdb dies of a file without it. */
function isUnwritten(directory: string, data: string): boolean {
  const head = Buffer.alloc(64);
  const file = openSync(data, 'r');
  try {
    const bytes = readSync(file, head);
    if (bytes > 0 && !head.includes(MAGIC)) throw notALog(directory, 'a data.mdb that is not of LMDB');
    const { size } = fstatSync(file);
    if (bytes > 0 && size < LEAST_BYTES)
      throw notALog(directory, `a data.mdb of ${size} bytes, cut off as it was begun`);
    return bytes === 0;
  } finally {
    closeSync(file);
  }
}

/** A foreign LMDB environment must stay untouched: opening our tables in it would already write. */
function refuseForeignTables(directory: string, root: RootDatabase<string, string>): void {
  for (const name of root.getKeys()) {
    if (!TABLES.includes(name)) throw notALog(directory, `an LMDB environment with '${name}'`);
  }
}

const isForeign = (error: unknown): boolean => /MDB_INVALID|MDB_VERSION_MISMATCH|MDB_CORRUPTED/.test(reason(error));

const notALog = (directory: string, received: string): Fault =>
  new Fault({
    code: 'not-a-log',
    received: `${received} at ${directory}`,
    expected: `an empty or missing folder, or a log (${FORMAT})`,
    remedy: 'give --transport log:DIR another folder',
  });

/** The log could not be opened, or a commit failed: no rights, a full disk, a broken one. */
export const unusable = (directory: string, cause: unknown): Fault =>
  new Fault({
    code: 'log-unusable',
    received: `${directory}${roomIn(directory)}: ${reason(cause)}`,
    expected: 'a folder on a local disk with space left, that this user may write to',
    remedy: 'free space, correct the rights, or give --transport log:DIR another folder',
    cause,
  });

/** lmdb says "Input/output error" where the disk is full. */
function roomIn(directory: string): string {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return ` (${bavail * bsize} bytes free)`;
  } catch {
    // The folder itself cannot be looked at: the reason says so.
    return '';
  }
}
