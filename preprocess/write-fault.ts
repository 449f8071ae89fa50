// What the system refuses while writing (disk full, no permission) is not a defect of ours.

import { Fault } from '#shards';

export function asWriteFault(error: unknown, out: string): unknown {
  const { code, syscall, message } = (error ?? {}) as NodeJS.ErrnoException;
  if (error instanceof Fault || code === undefined || syscall === undefined) return error;
  return new Fault({
    code: 'write-failed',
    received: `${message} while packing into ${out}`,
    expected: 'a target that can be written',
    remedy:
      code === 'ENOSPC' || code === 'EFBIG' || code === 'EDQUOT'
        ? 'make room there; finished shards are intact, and the same command with --resume goes on'
        : 'mend that, or give another --out; the same command with --resume goes on where shards are finished',
    cause: error,
  });
}
