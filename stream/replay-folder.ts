// A folder of replayed records: each a safetensors file of the record's own bytes, under names that sort by step, lane, chunk.
//
// A lane-step's files take their names when it was read to its end, so what stands under a name is whole and was checked.
// Nothing is synced: after a loss of power the same command makes the same files again.

import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '#shards';
import type { LedgerRecord } from './ledger.ts';

/** `chunks` of the lane-step. */
export function recordFileName({ step, lane, chunks }: LedgerRecord, lanes: number, chunk: number): string {
  const padded = (value: number, largest: number, digits: number) =>
    String(value).padStart(Math.max(digits, String(largest).length), '0');
  return `step-${padded(step, step, 6)}.lane-${padded(lane, lanes - 1, 2)}.chunk-${padded(chunk, chunks - 1, 2)}.safetensors`;
}

export class ReplayFolder {
  readonly #dir: string;
  readonly #lanes: number;
  /** Names of the lane-step that is being written; the files still bear temporary ones. */
  #names: string[] = [];
  files = 0;

  private constructor(dir: string, lanes: number) {
    this.#dir = dir;
    this.#lanes = lanes;
  }

  /**
   * Makes the folder. Fault `folder-in-use` where it holds anything: files of another range or plan would stand among
   * these, and nobody could tell.
   */
  static async create(dir: string, lanes: number): Promise<ReplayFolder> {
    const [found] = await mkdir(dir, { recursive: true })
      .then(() => readdir(dir))
      .catch((error: unknown) => Promise.reject(asWriteFault(error)));
    if (found !== undefined)
      throw new Fault({
        code: 'folder-in-use',
        received: `--to ${dir}, which holds ${found}`,
        expected: 'a folder that is empty or not there',
        remedy: 'choose another --to, or remove it',
        exit: 2,
      });
    return new ReplayFolder(dir, lanes);
  }

  /** The lane-step's next record. */
  async write(entry: LedgerRecord, bytes: Uint8Array): Promise<void> {
    const name = recordFileName(entry, this.#lanes, this.#names.length);
    this.#names.push(name);
    await writeFile(this.#aside(name), bytes).catch((error: unknown) => Promise.reject(asWriteFault(error)));
  }

  /** Gives the lane-step's files their names. */
  async keep(): Promise<void> {
    for (const name of this.#names) await rename(this.#aside(name), join(this.#dir, name));
    this.files += this.#names.length;
    this.#names = [];
  }

  /** Removes what was written of the lane-step. */
  async drop(): Promise<void> {
    for (const name of this.#names) await rm(this.#aside(name), { force: true });
    this.#names = [];
  }

  #aside(name: string): string {
    return join(this.#dir, `${name}.tmp`);
  }
}

/** What the system refuses while writing is not a defect of ours. */
function asWriteFault(error: unknown): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return error;
  return new Fault({
    code: 'write-failed',
    received: message,
    expected: 'a folder that can be written, with room for the records',
    remedy: 'make room there, or give another --to',
    cause: error,
  });
}
