// Sources that cannot be packed: why, how many may be skipped, and the errors.

import { canonicalJson, Fault, type Split } from '#shards';

export const REJECTS_FILE = 'rejects.jsonl';

export const REJECT_CODES = [
  'empty-file',
  'not-an-image',
  'unsupported',
  'truncated',
  'damaged',
  'too-large',
  'aspect-ratio',
  'timeout',
  'unreadable',
] as const;
export type RejectCode = (typeof REJECT_CODES)[number];

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

/** A line of `rejects.jsonl`. */
export function rejectLine(reject: Reject): string {
  return `${canonicalJson(reject)}\n`;
}

/** The error of `--on-error fail`. */
export function rejectFault({ code, reason }: Rejection, path: string): Fault {
  return new Fault({
    code,
    received: `${path} ${reason}`,
    expected: 'a JPEG, PNG, WebP, GIF, TIFF or AVIF that decodes to its end',
    remedy: `replace or remove the file; or '… --on-error skip' packs the rest and lists it in ${REJECTS_FILE}`,
  });
}

/** How many of `sources` may be skipped: a share of them, rounded down, but always one. */
export function rejectLimit(sources: number, maxRejects: number): number {
  return Math.max(1, Math.floor(sources * maxRejects));
}

/** The error of `--on-error skip` when more than the limit would be skipped. */
export function tooManyRejects(reject: Rejection, path: string, limit: number): Fault {
  return new Fault({
    code: 'too-many-rejects',
    received: `more than ${limit} rejects, the last one (${reject.code}): ${path} ${reject.reason}`,
    expected: `at most ${limit}`,
    remedy: 'look for what they have in common; --max-rejects 5% allows more, with --resume where shards are finished',
  });
}
