// `ops bench preprocess`: our packer beside sharp alone, Python and FFCV, in interleaved rounds over the same photos.

import { rm } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { type Bucket, Fault } from '#shards';
import { cacheRoot, temporary } from '../setup/plain.ts';
import { type Contender, type Contest, contenders, type Run } from './contenders.ts';
import { type Extrapolation, extrapolate, type Share, shareOf } from './extrapolate.ts';
import { LEAST_IMAGES, type PhotoSet, photoSet, warm } from './photo-set.ts';
import { type BucketWork, totalWork } from './work.ts';

export interface BenchOptions {
  readonly images: number;
  readonly rounds: number;
  readonly workers: number;
  readonly buckets: readonly Bucket[];
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** The small pack, from which the packer's fixed cost is known, and twice that for the large one. */
export const LEAST_BENCH_IMAGES = 2 * LEAST_IMAGES;

export interface Row extends Pick<Contender, 'kind' | 'name' | 'kernel' | 'goal'> {
  /** Of the median round; null where it was skipped. */
  readonly imagesPerSecond: number | null;
  /** Of each round: the work itself, and the whole process. */
  readonly seconds: readonly number[];
  readonly wallSeconds: readonly number[];
  /** CPU time of the median round, start left out: it says what wall time says, but other work beside it counts less. */
  readonly cpuMs: number | null;
  /** Images/s of our packer with the same kernel over its. */
  readonly ratio: number | null;
  /** The same of CPU time an image. */
  readonly cpuRatio: number | null;
  /** What it stored, all buckets together. */
  readonly work: BucketWork | null;
  /** Why it was left out. */
  readonly skipped: string | null;
}

export interface BenchResult {
  readonly rows: readonly Row[];
  readonly machine: { readonly cpu: string; readonly cores: number; readonly node: string };
  readonly photos: PhotoSet;
  readonly rounds: number;
  readonly workers: number;
  /** How the packer with its default kernel uses the cores; null without /proc. */
  readonly share: Share | null;
  readonly imagenet: readonly Extrapolation[];
}

/** @throws Fault `contender-failed`, `unequal-work`, `interrupted` */
export async function benchPreprocess(options: BenchOptions): Promise<BenchResult> {
  const { images, rounds, workers, buckets, say, signal } = options;
  const photos = await photoSet(images, say);
  const few = await photoSet(LEAST_IMAGES, say);
  const all = await contenders(say);
  for (const { name, missing } of all) if (missing !== null) say(`SKIPPED: ${name}: ${missing}`);
  const contestants = all.filter(({ missing }) => missing === null);
  const contest: Contest = { dir: photos.dir, files: await warm(photos), buckets, workers, signal };
  const start: Contest = { ...contest, dir: few.dir, files: await warm(few) };
  const runs = new Map<Contender, Run[]>(all.map((contender) => [contender, []]));
  const starts: Run[] = [];
  const ours = all.filter(({ kind }) => kind === 'ours');
  const [packer] = ours as [Contender];
  const scratch = temporary(cacheRoot());
  const run = async (contender: Contender, of: Contest): Promise<Run> => {
    const out = join(scratch, 'out');
    try {
      return await contender.run(of, out);
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  };
  try {
    for (let round = 0; round < rounds; round++) {
      starts.push(await run(packer, start));
      // Each round begins with another one, so that none always follows the same.
      for (const [i] of contestants.entries()) {
        const contender = contestants[(i + round) % contestants.length] as Contender;
        const result = await run(contender, contest);
        runs.get(contender)?.push(result);
        say(`round ${round + 1} of ${rounds}: ${contender.name}: ${(images / result.seconds).toFixed(0)} images/s`);
      }
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  const runsOf = (contender: Contender): readonly Run[] => runs.get(contender) ?? [];
  const share = packerShare({ images: few.images, runs: starts }, { images, runs: runsOf(packer) });
  const rows = all.map((contender) => {
    const mine = ours.find(({ kernel }) => kernel === contender.kernel) ?? packer;
    const start = share?.startSeconds ?? 0;
    return rowOf(contender, { images, start, runs: runsOf(contender), mine: runsOf(mine) });
  });
  const cores = Math.min(workers, availableParallelism());
  const perCore = (rows[0]?.imagesPerSecond ?? Number.NaN) / cores;
  return {
    rows,
    machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), node: process.version },
    photos,
    rounds,
    workers,
    share,
    imagenet: [2, 64].map((wanted) => extrapolate(wanted, perCore, share?.serialMs ?? 0)),
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
}

interface Runs {
  readonly images: number;
  readonly runs: readonly Run[];
}

function packerShare(small: Runs, large: Runs): Share | null {
  const sample = ({ images, runs }: Runs) => ({
    images,
    seconds: median(runs.map(({ seconds }) => seconds)),
    processSeconds: median(runs.map(({ cpuSeconds }) => cpuSeconds ?? Number.NaN)),
    mainThreadSeconds: median(runs.map(({ mainThreadSeconds }) => mainThreadSeconds ?? Number.NaN)),
  });
  const share = shareOf(sample(small), sample(large));
  return Number.isNaN(share.busyCores) ? null : share;
}

interface Outcome extends Runs {
  /** CPU seconds of our packer before the first image; the others do not count theirs. */
  readonly start: number;
  /** Of our packer with the same kernel. */
  readonly mine: readonly Run[];
}

function rowOf(contender: Contender, { images, start, runs, mine }: Outcome): Row {
  const { kind, name, kernel, goal, missing } = contender;
  const [first] = runs;
  const [reference] = mine;
  const seconds = runs.map((run) => run.seconds);
  if (first && reference) checkEqual(name, first, reference);
  const cpuMs = cpuOf(runs, images) - (kind === 'ours' ? (1000 * start) / images : 0);
  const cpuRatio = cpuMs / (cpuOf(mine, images) - (1000 * start) / images);
  return {
    kind,
    name,
    kernel,
    imagesPerSecond: first ? images / median(seconds) : null,
    seconds,
    wallSeconds: runs.map(({ wallSeconds }) => wallSeconds),
    cpuMs: Number.isNaN(cpuMs) ? null : cpuMs,
    ratio: first ? median(seconds) / median(mine.map((run) => run.seconds)) : null,
    cpuRatio: Number.isNaN(cpuRatio) ? null : cpuRatio,
    goal,
    work: first ? totalWork(first.work) : null,
    skipped: missing,
  };
}

/** ms an image of the median round, with the start where the contender counts it; NaN where unknown. */
function cpuOf(runs: readonly Run[], images: number): number {
  return (1000 * median(runs.map(({ cpuSeconds }) => cpuSeconds ?? Number.NaN))) / images;
}

/** FFCV bounds the long side, which stores a few per cent fewer pixels of photos that are not 4:3. */
const PIXELS_MAY_DIFFER = 0.05;

/** A contender that did less work would look fast: every bucket must hold as many images, of about the same pixels. */
function checkEqual(name: string, run: Run, mine: Run): void {
  for (const [shortSide, { images, pixels }] of Object.entries(mine.work)) {
    const theirs = run.work[shortSide];
    if (theirs?.images === images && Math.abs(theirs.pixels / pixels - 1) <= PIXELS_MAY_DIFFER) continue;
    throw new Fault({
      code: 'unequal-work',
      received: `${name}: ${theirs?.images ?? 0} images, ${theirs?.pixels ?? 0} pixels in the bucket of short side ${shortSide}`,
      expected: `${images} images and about ${pixels} pixels, as ours`,
      remedy: 'the benchmark itself is wrong: mend it',
    });
  }
}
