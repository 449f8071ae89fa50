// Sources that cannot be packed: why, where they are listed, and the error when none is allowed.

import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson, Fault, type Split } from '#shards';

export const REJECTS_FILE = 'rejects.jsonl';

export type RejectCode =
  | 'empty-file'
  | 'not-an-image'
  | 'unsupported'
  | 'truncated'
  | 'damaged'
  | 'too-large'
  | 'unreadable';

/** Why one file was refused. A plain value: it crosses from the workers. */
export interface Rejection {
  readonly code: RejectCode;
  /** For a person, as a predicate of the file: "is HTML". */
  readonly reason: string;
}

export interface Reject extends Rejection {
  readonly split: Split;
  readonly position: number;
  readonly source: string;
}

/** The error of `--on-error fail`. */
export function rejectFault(reject: Reject, path: string): Fault {
  return new Fault({
    code: reject.code,
    received: `${path} ${reject.reason}`,
    expected: 'a JPEG, PNG, WebP, GIF, TIFF or AVIF that decodes to its end',
    remedy: `replace or remove the file; or '… --on-error skip' packs the rest and lists it in ${REJECTS_FILE}`,
  });
}

/** Writes `rejects.jsonl` in position order (train first) as they come, and counts them. */
export class RejectLog {
  readonly byCode: Partial<Record<RejectCode, number>> = {};
  count = 0;
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async create(dir: string): Promise<RejectLog> {
    return new RejectLog(await open(join(dir, REJECTS_FILE), 'w'));
  }

  async add(reject: Reject): Promise<void> {
    this.count++;
    this.byCode[reject.code] = (this.byCode[reject.code] ?? 0) + 1;
    await this.#file.write(`${canonicalJson(reject)}\n`);
  }

  /** Makes the list durable. */
  async finish(): Promise<void> {
    await this.#file.sync();
    await this.#file.close();
  }

  async abort(): Promise<void> {
    await this.#file.close();
  }
}
