// The values of large records: plain files, written in order and never again, beside the LMDB that knows what lies where.
// LMDB itself takes five times the CPU for a megabyte: it copies into pages of its own and writes those.
//
// Nobody waits for the disk: the bytes outlive every process from the moment they are written, and a stream can be rendered
// again after a loss of power. Waiting would bind the stream to the disk's rate, and mostly to store what is soon deleted.
//
//   segments/N   values one after the other; N counts up and is used once
//
// A segment has one writer, and a row in LMDB with the number of its records before its file is made. Whoever removes the
// last record removes row and file, also while the writer still writes: the writer sees at its commit that the row is gone
// and writes those values again. So no one asks who lives: what was killed leaves a row without records, or a file without
// a row, and the next who opens the log removes both.

import { closeSync, mkdirSync, openSync, readdirSync, rmSync, writev } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readAtSync } from '#shards';

/** Values up to here lie in LMDB. Part of the format. */
export const INLINE_BYTES = 16 * 1024;
/** A segment of more is not appended to: the unit in which disk space is freed. */
const SEGMENT_BYTES = 32 * 1024 * 1024;
/** Open for reading at once; an open file keeps its space after its removal. */
const OPEN_SEGMENTS = 4;

/** Where a value begins. */
export interface Place {
  readonly segment: number;
  readonly at: number;
}

export function encodePlace({ segment, at }: Place): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(segment, 0);
  bytes.writeUInt32LE(at, 4);
  return bytes;
}

export const decodePlace = (bytes: Buffer): Place => ({ segment: bytes.readUInt32LE(0), at: bytes.readUInt32LE(4) });

const write = promisify(writev);
const fileOf = (folder: string, segment: number): string => join(folder, String(segment));

/** The files of `folder` that `isKept` does not know; a row precedes its file, so list first. */
export function removeStrangers(folder: string, isKept: (segment: number) => boolean): void {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder))
    if (/^\d+$/.test(name) && !isKept(Number(name))) rmSync(join(folder, name), { force: true });
}

export const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Another process may have removed some too. */
export async function removeSegments(folder: string, segments: readonly number[]): Promise<void> {
  for (const segment of segments) await rm(fileOf(folder, segment), { force: true });
}

/** What follows the first `bytes` of some buffers. */
function after(buffers: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const rest = [...buffers];
  for (let first = rest[0]; first && bytes > 0; first = rest[0]) {
    if (first.byteLength > bytes) rest[0] = first.subarray(bytes);
    else rest.shift();
    bytes -= Math.min(bytes, first.byteLength);
  }
  return rest;
}

/** Appends values in threads of Node's pool. One call at a time. */
export class SegmentWriter {
  readonly #folder: string;
  /** Makes the next segment's row. */
  readonly #allocate: () => number;
  #current: { readonly id: number; readonly fd: number; size: number } | null = null;

  constructor(folder: string, allocate: () => number) {
    this.#folder = folder;
    this.#allocate = allocate;
  }

  /** The values one after the other in one segment. */
  async write(values: readonly Uint8Array[]): Promise<Place[]> {
    if (this.#current && this.#current.size >= SEGMENT_BYTES) this.leave(this.#current.id);
    this.#current ??= this.#create();
    const segment = this.#current;
    const places: Place[] = [];
    let end = segment.size;
    for (const value of values) {
      places.push({ segment: segment.id, at: end });
      end += value.byteLength;
    }
    for (let rest = values; segment.size < end; ) {
      const { bytesWritten } = await write(segment.fd, rest, segment.size);
      segment.size += bytesWritten;
      rest = after(rest, bytesWritten);
    }
    return places;
  }

  /** Writes no more into this segment. */
  leave(segment: number): void {
    if (this.#current?.id !== segment) return;
    closeSync(this.#current.fd);
    this.#current = null;
  }

  close(): void {
    if (this.#current) this.leave(this.#current.id);
  }

  #create() {
    const id = this.#allocate();
    return { id, fd: openSync(fileOf(this.#folder, id), 'wx'), size: 0 };
  }
}

export class SegmentReader {
  readonly #folder: string;
  /** The one used last stands last. */
  readonly #open = new Map<number, number>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** How many bytes of `into` there were. Throws the system's ENOENT where there is no such segment. */
  read({ segment, at }: Place, into: Uint8Array): number {
    return readAtSync(this.#fd(segment), into, at);
  }

  close(): void {
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }

  #fd(segment: number): number {
    const fd = this.#open.get(segment) ?? openSync(fileOf(this.#folder, segment), 'r');
    this.#open.delete(segment);
    this.#open.set(segment, fd);
    const [oldest] = this.#open;
    if (oldest && this.#open.size > OPEN_SEGMENTS) {
      this.#open.delete(oldest[0]);
      closeSync(oldest[1]);
    }
    return fd;
  }
}
