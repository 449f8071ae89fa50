// Room in LMDB's data file ahead of what it writes. Where lmdb itself meets a full disk it writes past the end of its error
// text's memory, and the process may die of it; so the disk is met here, by a write of zeros that fails as an ordinary error.

import { closeSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { RootDatabase } from 'lmdb';
import { INLINE_BYTES } from './log-segments.ts';

/** More than a transaction takes: so much, and so much a call, which stores one small value or removes a thousand. */
const LEAST_BYTES = 1024 * 1024;
const CALL_BYTES = 3 * INLINE_BYTES;
/** How much more than that is written at once. */
const AHEAD_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(256 * 1024);

/** What lmdb gives and does not declare. */
interface Stats {
  /** Of the last commit, whichever process made it. */
  readonly lastPageNumber: number;
  readonly pageSize: number;
}

export class Reserve {
  readonly #file: string;
  readonly #root: RootDatabase<string, string>;

  constructor(directory: string, root: RootDatabase<string, string>) {
    this.#file = join(directory, 'data.mdb');
    this.#root = root;
  }

  /**
   * To be called inside each write transaction: its lock keeps other processes from writing where the zeros go. Throws the
   * system's error where there is no room; the transaction is then aborted, and the log stays as it was.
   */
  ensure(calls: number): void {
    const { lastPageNumber, pageSize } = this.#root.getStats() as Stats;
    const used = (lastPageNumber + 1) * pageSize;
    const { size } = statSync(this.#file);
    const least = used + LEAST_BYTES + calls * CALL_BYTES;
    if (size < least) this.#extend(size, least, least + AHEAD_BYTES);
  }

  #extend(from: number, least: number, to: number): void {
    const file = openSync(this.#file, 'r+');
    let size = from;
    try {
      while (size < to) size += writeSync(file, ZEROS, 0, Math.min(ZEROS.length, to - size), size);
    } catch (error) {
      if (size < least) throw error;
    } finally {
      closeSync(file);
    }
  }
}
