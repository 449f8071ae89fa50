// A source's bytes: a whole file, or a range of a tar.

import { closeSync, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { Fault, readAtSync, ShardFiles, type SourceEntry } from '#shards';
import type { Rejection } from './rejects.ts';
import { MAX_FILE_BYTES } from './resize.ts';

/** A source up to this size is read into memory that the next one uses again. */
const KEEP_BYTES = 8 * 1024 * 1024;
const kept = Buffer.allocUnsafeSlow(KEEP_BYTES);

export class SourceFiles {
  readonly #root: string;
  readonly #tars: ShardFiles;

  constructor(root: string) {
    this.#root = root;
    this.#tars = new ShardFiles(root, 8);
  }

  /**
   * The bytes are valid until the next call. Synchronous: the worker has nothing else to do, and libuv's few threads are
   * for decoding.
   */
  read({ file, offset, bytes }: SourceEntry): Buffer | Rejection {
    try {
      if (bytes < 0) return this.#readWhole(join(this.#root, file));
      return bytes > MAX_FILE_BYTES ? tooLarge(bytes) : this.#read(file, offset, bytes);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (error instanceof Fault) return { code: 'unreadable', reason: `cannot be read (${error.received})` };
      if (code === undefined) throw error;
      return { code: 'unreadable', reason: `cannot be read (${code})` };
    }
  }

  close(): void {
    this.#tars.close();
  }

  #read(shard: string, offset: number, bytes: number): Buffer {
    const target = room(bytes);
    this.#tars.readSync({ shard, offset, bytes }, target);
    return target;
  }

  #readWhole(path: string): Buffer | Rejection {
    const fd = openSync(path, 'r');
    try {
      const { size } = fstatSync(fd);
      if (size > MAX_FILE_BYTES) return tooLarge(size);
      const target = room(size);
      return target.subarray(0, readAtSync(fd, target, 0));
    } finally {
      closeSync(fd);
    }
  }
}

function room(bytes: number): Buffer {
  return bytes > KEEP_BYTES ? Buffer.allocUnsafeSlow(bytes) : kept.subarray(0, bytes);
}

function tooLarge(bytes: number): Rejection {
  return { code: 'too-large', reason: `has ${bytes} bytes, more than ${MAX_FILE_BYTES}` };
}
