// How much room the packed dataset will take, measured on a few sources spread over each split, and how much there is.

import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { SPLITS, type Split } from '#shards';
import { type Group, type Job, positionsIn } from './job.ts';
import type { ProbeResult, ProbeTask, SourceRequest } from './shard.worker.ts';

const PROBES: Readonly<Record<Split, number>> = { train: 16, val: 4 };
/** Beside a JPEG: three headers, two small members, padding, and the sample's place in both indexes. */
const OVERHEAD_BYTES = 3 * 512 + 2 * 512 + 256 + 300;

export interface Estimate {
  readonly bytes: number;
  /** Free where it goes, for an ordinary user. */
  readonly free: number;
}

/** Room for `groups` of a job, within some ten percent. Sources that cannot be packed are left out of the mean. */
export async function estimate(
  measure: (task: ProbeTask) => Promise<ProbeResult>,
  job: Pick<Job, 'sources' | 'shardSamples' | 'buckets'>,
  groups: readonly Group[],
  request: SourceRequest,
  out: string,
): Promise<Estimate> {
  let bytes = 0;
  for (const split of SPLITS) {
    const positions = positionsIn(
      job,
      groups.filter((group) => group.split === split),
    );
    if (positions === 0) continue;
    const places = spread(job.sources[split].count, PROBES[split]);
    const found = await Promise.all(places.map((place) => measure({ ...request, kind: 'probe', split, place })));
    const jpegs = found.filter((each) => each !== null);
    const mean = jpegs.reduce((sum, each) => sum + each, 0) / Math.max(1, jpegs.length);
    bytes += positions * (mean + job.buckets.length * OVERHEAD_BYTES);
  }
  return { bytes: Math.round(bytes), free: await freeAt(resolve(out)) };
}

/** Of the file system that a folder lies on, or will. */
async function freeAt(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    const parent = dirname(folder);
    if (parent === folder) throw error;
    return freeAt(parent);
  }
}

/** At most `n` different places, evenly over 0 … count−1. */
function spread(count: number, n: number): number[] {
  const taken = Math.min(count, n);
  return Array.from({ length: taken }, (_, i) => Math.floor(((i + 0.5) * count) / taken));
}
