// Reads a file once, from its beginning, in large pieces, and hashes what it reads.

import { createHash, type Hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { asReadDamage, type DamageList } from './damage.ts';

const PIECE_BYTES = 1 << 20;

/** Synchronous, for workers. Memory: 1 MiB, or the longest piece that was taken. System errors pass through. */
export class HashedFile {
  readonly size: number;
  /** Bytes after this are neither read nor hashed. */
  readonly #limit: number;
  readonly #fd: number;
  readonly #hash: Hash = createHash('sha256');
  #buffer: Buffer<ArrayBuffer>;
  /** Of the buffer: what was read and not taken. */
  #begin = 0;
  #end = 0;
  /** In the file: what was read. */
  #read = 0;

  constructor(path: string, limit = Number.POSITIVE_INFINITY) {
    this.#fd = openSync(path, 'r');
    this.size = fstatSync(this.#fd).size;
    this.#limit = Math.min(limit, this.size);
    this.#buffer = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, Math.max(1, this.#limit)));
  }

  /** Where the next byte is taken from. */
  get at(): number {
    return this.#read - (this.#end - this.#begin);
  }

  /** The next `bytes` bytes, valid until the next call; null, and nothing is taken, where there are not so many. */
  take(bytes: number): Buffer | null {
    if (this.at + bytes > this.#limit) return null;
    if (this.#end - this.#begin < bytes) this.#fill(bytes);
    if (this.#end - this.#begin < bytes) return null;
    const taken = this.#buffer.subarray(this.#begin, this.#begin + bytes);
    this.#begin += bytes;
    return taken;
  }

  /** Reads to the end; the hash, in hexadecimal, of all that was read. */
  finish(): string {
    while (this.#read < this.#limit) {
      this.#begin = this.#end = 0;
      if (!this.#fill(1)) break;
    }
    return this.#hash.digest('hex');
  }

  /** Bytes read so far. */
  get bytesRead(): number {
    return this.#read;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Reads until `bytes` bytes can be taken, as much as fits; false where the file ends first. */
  #fill(bytes: number): boolean {
    const left = this.#buffer.subarray(this.#begin, this.#end);
    if (bytes > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(bytes);
      left.copy(larger);
      this.#buffer = larger;
    } else left.copy(this.#buffer);
    this.#begin = 0;
    this.#end = left.length;
    while (this.#end < bytes) {
      const room = Math.min(this.#buffer.length - this.#end, this.#limit - this.#read);
      const got = readSync(this.#fd, this.#buffer, this.#end, room, this.#read);
      if (got === 0) return false;
      this.#hash.update(this.#buffer.subarray(this.#end, this.#end + got));
      this.#end += got;
      this.#read += got;
    }
    return true;
  }
}

/** What was there and read. */
export interface Tally {
  files: number;
  bytes: number;
}

export interface HashedPath {
  /** The dataset's folder, and the file's path from there. */
  readonly dir: string;
  readonly file: string;
  /** What it must be. */
  readonly sha256: string;
}

/** Whether a file of any size has its hash; tells of it otherwise. */
export function hashIsRight({ dir, file, sha256 }: HashedPath, damages: DamageList, tally: Tally): boolean {
  let hashed: HashedFile | null = null;
  try {
    hashed = new HashedFile(join(dir, file));
    tally.files++;
    const received = hashed.finish();
    tally.bytes += hashed.bytesRead;
    if (received === sha256) return true;
    damages.add({ file, what: 'sha256', expected: sha256, received });
  } catch (error) {
    damages.add(asReadDamage(error, file));
  } finally {
    hashed?.close();
  }
  return false;
}
