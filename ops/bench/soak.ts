// `ops bench soak`: our pool over very many images, with consumers that are slow, that stop and that die. Its memory stays flat.

import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type ChunkTask, type RenderedChunk, RenderPool } from '#stream';
import { chunkTasks } from './chunk-tasks.ts';
import { AUGMENTATION } from './contest.ts';
import { type LoaderSet, loaderSets, readSet } from './loader-sets.ts';
import { type Machine, machine } from './machine.ts';
import { median } from './preprocess.ts';

export interface SoakOptions {
  /** Folder under which the samples' shards lie. */
  readonly shards: string;
  readonly samples: LoaderSet['samples'];
  /** Side of the square output, px. */
  readonly output: number;
  readonly images: number;
  readonly workers: number;
  /** Told after each tenth. */
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** A tenth of the images: most of them released at once; then a consumer that is slow, one that stops, one that dies. */
export interface Tenth {
  readonly images: number;
  readonly seconds: number;
  /** Resident memory of the whole process, MB of 10^6 bytes: median and most. */
  readonly rssMb: number;
  readonly peakMb: number;
  /** Records that were made in new memory. */
  readonly fresh: number;
}

export interface SoakResult {
  readonly images: number;
  readonly seconds: number;
  /** Half as many images before those that count: V8 lets each thread's heap grow to its bound. */
  readonly warmUp: Tenth;
  /** Over the first tenth. */
  readonly earlyMb: number;
  /** Over the last tenth. */
  readonly endMb: number;
  readonly peakMb: number;
  /** End over early, less 1. */
  readonly growth: number;
  /** Whether it grew or shrank by no more than FLAT. */
  readonly flat: boolean;
  readonly tenths: readonly Tenth[];
}

export const FLAT = 0.05;

setFlagsFromString('--expose-gc');
/** What a dead consumer held is garbage, for which V8 comes when there are tens of MB of it: here at the end of each tenth. */
const collect = runInNewContext('gc') as () => void;

/** Records at once, a worker. */
const AHEAD = 4;
/** Share of a tenth's images whose consumer is slow, and how long it keeps each record, ms. */
const SLOW = { share: 0.1, ms: 50 };
/** How long a consumer that stops keeps all its records, ms. */
const STOP_MS = 200;
const SAMPLE_MS = 50;

/** @throws whatever a chunk fails with, or the signal's reason */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { shards, images, workers, say, signal } = options;
  const started = performance.now();
  const tenths: Tenth[] = [];
  const pool = await RenderPool.open(shards, workers);
  try {
    // More than are asked for: the last consumers of each tenth take some beside.
    const tasks = chunkTasks({ ...options, ...AUGMENTATION, images: 3 * images, firstEpoch: 0 });
    const part = async (name: string, until: number): Promise<Tenth> => {
      const tenth = await soakTenth(pool, tasks, until, options);
      signal.throwIfAborted();
      const { rssMb, peakMb, fresh } = tenth;
      say(`${name}: ${rssMb.toFixed(1)} MB, at most ${peakMb.toFixed(1)}; ${fresh} records in new memory`);
      return tenth;
    };
    const warmUp = await part('warming up', images / 2);
    const warmed = pool.counters.images;
    for (let i = 1; i <= 10; i++) tenths.push(await part(`${10 * i} %`, warmed + Math.floor((i * images) / 10)));
    return resultOf(warmUp, tenths, (performance.now() - started) / 1000);
  } finally {
    await pool.close();
  }
}

function resultOf(warmUp: Tenth, tenths: readonly Tenth[], seconds: number): SoakResult {
  const earlyMb = tenths[0]?.rssMb ?? Number.NaN;
  const endMb = tenths.at(-1)?.rssMb ?? Number.NaN;
  const growth = endMb / earlyMb - 1;
  return {
    images: tenths.reduce((sum, tenth) => sum + tenth.images, 0),
    seconds,
    warmUp,
    earlyMb,
    endMb,
    peakMb: Math.max(...tenths.map(({ peakMb }) => peakMb)),
    growth,
    flat: Math.abs(growth) <= FLAT,
    tenths,
  };
}

/** Makes images until the pool has made `until`; those of the last two consumers come on top. */
async function soakTenth(
  pool: RenderPool,
  tasks: Iterator<ChunkTask>,
  until: number,
  { workers, signal }: SoakOptions,
): Promise<Tenth> {
  const started = performance.now();
  const before = { ...pool.counters };
  const rss: number[] = [];
  const sampling = setInterval(() => rss.push(process.memoryUsage.rss() / 1e6), SAMPLE_MS);
  const next = (): Promise<RenderedChunk> => {
    const { value, done } = tasks.next();
    if (done) throw new Error('more tasks than were made');
    return pool.render(value);
  };
  const consume = async (end: number, keep: () => Promise<unknown>): Promise<void> => {
    while (pool.counters.images < end && !signal.aborted) {
      const chunk = await next();
      await keep();
      chunk.release();
    }
  };
  const atOnce = <Value>(take: () => Promise<Value>): Promise<Value[]> =>
    Promise.all(Array.from({ length: AHEAD * workers }, take));
  try {
    const slowly = until - SLOW.share * (until - before.images);
    await atOnce(() => consume(slowly, async () => {}));
    await atOnce(() => consume(until, () => sleep(SLOW.ms)));
    const stopped = await atOnce(next);
    await sleep(STOP_MS);
    for (const chunk of stopped) chunk.release();
    await atOnce(next); // and nobody releases them
  } finally {
    clearInterval(sampling);
  }
  collect();
  rss.push(process.memoryUsage.rss() / 1e6);
  const { images, fresh } = pool.counters;
  return {
    images: images - before.images,
    seconds: (performance.now() - started) / 1000,
    rssMb: median(rss),
    peakMb: Math.max(...rss),
    fresh: fresh - before.fresh,
  };
}

export interface SoakBench extends SoakResult {
  readonly machine: Machine;
  readonly workers: number;
}

/** Over the bucket of short side 256, to 224 px. */
export async function benchSoak(
  options: Pick<SoakOptions, 'images' | 'workers' | 'say' | 'signal'> & { readonly photos: number },
): Promise<SoakBench> {
  const shards = (await loaderSets(options.photos, options.say)).bucket(256);
  const { samples } = await readSet(shards);
  const result = await soak({ ...options, shards, samples, output: 224 });
  return { ...result, machine: machine(availableParallelism()), workers: options.workers };
}
