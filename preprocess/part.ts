// OUT/part.json: what one of N machines has packed, for `preprocess merge`. Sealed JSON:
//
//   {format, job with part {index, of}, groups: the records of its groups in order, sha256}

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '#shards';
import type { GroupRecord } from './group.ts';
import type { Job } from './job.ts';
import { seal, unseal } from './sealed.ts';

export const PART_FILE = 'part.json';
const FORMAT = 'medium-recipe/part@2';

export interface PackedPart {
  readonly job: Job;
  readonly groups: readonly GroupRecord[];
}

export function encodePart({ job, groups }: PackedPart): string {
  return seal({ format: FORMAT, job, groups });
}

/** @throws Fault `no-part`, `part-damaged` */
export async function readPart(dir: string): Promise<PackedPart> {
  const path = join(dir, PART_FILE);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new Fault({
      code: 'no-part',
      received: `${path} cannot be read (${(cause as NodeJS.ErrnoException).code})`,
      expected: `a folder that 'preprocess shard --part I/N' has finished`,
      remedy: 'finish that part (--resume goes on with it), or give its folder',
      cause,
    });
  }
  const part = unseal(text);
  if (part?.['format'] === FORMAT) return part as unknown as PackedPart;
  throw new Fault({
    code: 'part-damaged',
    received: part ? `${path} of format ${part['format']}` : `${path}, whose content does not fit its own sha256`,
    expected: FORMAT,
    remedy: 'copy that part again, or pack it again',
  });
}
