// What is packed: everything the packed bytes depend on, and how the work is cut into groups.

import { type Bucket, type ClassEntry, canonicalJson, Fault, type Manifest, SPLITS, type Split } from '#shards';
import type { SourceList } from './catalogue.ts';

export interface Job {
  readonly classes: readonly ClassEntry[];
  /** The sources of each split, sorted, before the permutation. */
  readonly sources: Readonly<Record<Split, SourceList>>;
  readonly buckets: readonly Bucket[];
  readonly seed: number;
  /** Source positions a shard. */
  readonly shardSamples: number;
  readonly fingerprint: Manifest['fingerprint'];
  /** Only this share of the groups. */
  readonly part?: Part;
}

/** The unit of work: shard number `ordinal` of a split, in every bucket. No group depends on another. */
export interface Group {
  readonly split: Split;
  readonly ordinal: number;
}

/** One of `of` shares of a job: the groups whose number leaves `index` − 1 when divided by `of`. */
export interface Part {
  /** 1 … `of`. */
  readonly index: number;
  readonly of: number;
}

/** The job's groups in order, train first. */
export function groupsOf({ sources, shardSamples, part }: Pick<Job, 'sources' | 'shardSamples' | 'part'>): Group[] {
  const groups = SPLITS.flatMap((split) =>
    Array.from({ length: Math.ceil(sources[split].count / shardSamples) }, (_, ordinal) => ({ split, ordinal })),
  );
  return part ? groups.filter((_, i) => i % part.of === part.index - 1) : groups;
}

/** The job without a part: what all parts together do. */
export function wholeOf({ part: _, ...whole }: Job): Job {
  return whole;
}

/** Positions [begin, end) of a group in the permuted order of its split. */
export function positionsOf(
  { sources, shardSamples }: Pick<Job, 'sources' | 'shardSamples'>,
  { split, ordinal }: Group,
): { begin: number; end: number } {
  const begin = ordinal * shardSamples;
  return { begin, end: Math.min(begin + shardSamples, sources[split].count) };
}

/** How many positions groups have together. */
export function positionsIn(job: Pick<Job, 'sources' | 'shardSamples'>, groups: readonly Group[]): number {
  return groups.map((group) => positionsOf(job, group)).reduce((sum, { begin, end }) => sum + end - begin, 0);
}

/** The job that a manifest is the result of. */
export function jobOf({ dataset, splits, seed, shardSamples, fingerprint }: Manifest): Job {
  const list = (split: Split): SourceList => ({ count: splits[split].positions, sha256: splits[split].sourcesSha256 });
  const buckets = Object.values(splits.train.buckets)
    .map(({ resolution, shortSide }) => ({ resolution, shortSide }))
    .sort((a, b) => a.resolution - b.resolution);
  return {
    classes: dataset.classes,
    sources: { train: list('train'), val: list('val') },
    buckets,
    seed,
    shardSamples,
    fingerprint,
  };
}

/**
 * Refuses to go on with something else than what was begun.
 * @throws Fault `job-differs`, which names the first difference
 */
export function mustBeSameJob(begun: Job, asked: Job, where: string): void {
  const difference = firstDifference(begun, asked, '');
  if (difference === null) return;
  const { path, was, is } = difference;
  throw new Fault({
    code: 'job-differs',
    received: `${path} ${is}`,
    expected: `${was}, as in ${where}`,
    remedy: path.startsWith('sources')
      ? 'the source folder has changed: bring it back to what it was, or pack into another --out'
      : path.startsWith('fingerprint')
        ? 'use the same options, versions and CPU architecture, or pack into another --out'
        : 'use the same options, or pack into another --out',
  });
}

interface Difference {
  readonly path: string;
  readonly was: string;
  readonly is: string;
}

function firstDifference(was: unknown, is: unknown, path: string): Difference | null {
  if (isRecord(was) && isRecord(is)) {
    for (const key of [...new Set([...Object.keys(was), ...Object.keys(is)])].sort()) {
      const found = firstDifference(was[key], is[key], path === '' ? key : `${path}.${key}`);
      if (found) return found;
    }
    return null;
  }
  const text = (value: unknown): string => (value === undefined ? 'nothing' : canonicalJson(value));
  return text(was) === text(is) ? null : { path, was: text(was), is: text(is) };
}

/** Arrays too: their indexes are keys. */
function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
