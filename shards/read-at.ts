// Reads a range of an open file; a single read may give less than it was asked for.

import { readSync } from 'node:fs';

/** Fills `target` from byte `at` of the file on; returns how many bytes there were, fewer only where the file ends. */
export function readAtSync(fd: number, target: Uint8Array, at: number): number {
  let done = 0;
  while (done < target.length) {
    const got = readSync(fd, target, done, target.length - done, at + done);
    if (got === 0) break;
    done += got;
  }
  return done;
}
