// Interleaved rounds of loaders over cases: who takes part, that all do the same work, and the medians.

import { rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Fault } from '#shards';
import { cacheRoot, packageRoot, temporary } from '../setup/plain.ts';
import {
  type Augmentation,
  LoaderChild,
  type LoaderJob,
  type MeasuredAnswer,
  type Program,
  type Stages,
} from './loader-child.ts';
import { type LoaderSets, readSet } from './loader-sets.ts';
import { median } from './preprocess.ts';
import { DALI, peerPython, pythonWith } from './python.ts';

export interface LoaderCase {
  readonly source: string;
  readonly output: number;
  readonly set: string;
}

/** The five ways from a stored image to a training image that are claimed. */
export function loaderCases(sets: LoaderSets): LoaderCase[] {
  return [
    { source: 'short side 256', output: 224, set: sets.bucket(256) },
    { source: 'short side 160', output: 128, set: sets.bucket(160) },
    { source: 'short side 320', output: 288, set: sets.bucket(320) },
    { source: 'originals 500×375', output: 224, set: sets.originals },
    { source: 'originals 500×375', output: 128, set: sets.originals },
  ];
}

/** Everybody's, as the recipes have it. */
export const AUGMENTATION: Augmentation = { scale: [0.35, 1], ratio: [3 / 4, 4 / 3], flip: 0.5 };

export interface LoaderContender {
  readonly name: string;
  /** `limit`: only decodes. `sharp`: with sharp at work in our place. */
  readonly kind: 'ours' | 'limit' | 'sharp' | 'peer';
  readonly program: Program | null;
  /** Why it cannot run here, with the remedy. */
  readonly missing: string | null;
  readonly workers: number;
  /** Of the others' images: one that takes ten times as long need not make as many. */
  readonly share?: number;
  readonly task?: string;
}

const built = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

/** libuv's threads decode for sharp: one a worker, and some for files. */
const node = (name: string, workers: number): Program => ({
  command: process.execPath,
  args: [built(name)],
  env: { UV_THREADPOOL_SIZE: String(Math.max(4, workers + 2)) },
});

export function ourLoader(workers: number): LoaderContender {
  return { name: 'ours', kind: 'ours', program: node('our-loader', workers), missing: null, workers };
}

/** The same pool, kernel and MixUp, with sharp as the decoder of every sample. */
export function ourLoaderBySharp(workers: number): LoaderContender {
  return { ...ourLoader(workers), name: 'ours, decoded by sharp', kind: 'sharp', task: 'sharp', share: 0.2 };
}

const ALONE = {
  turbo: { name: 'libjpeg-turbo alone', kind: 'limit' },
  sharp: { name: 'sharp alone', kind: 'limit' },
  'sharp-loader': { name: 'sharp, crop, resize, flip', kind: 'sharp' },
} as const;

export function decodeAlone(task: keyof typeof ALONE, workers: number): LoaderContender {
  return { ...ALONE[task], task, program: node('decode-alone', workers), missing: null, workers };
}

/** Python's loaders; makes their environments where they are missing. */
export async function peerLoaders(workers: number, say: (line: string) => void): Promise<LoaderContender[]> {
  const { python, missing, ffcvMissing } = await peerPython(say);
  const dali = await pythonWith(DALI, say).then(
    (command) => ({ command, missing: null }),
    (error: unknown) => {
      if (error instanceof Fault) return { command: '', missing: error.message };
      throw error;
    },
  );
  const script = fileURLToPath(new URL('ops/bench/peer_loaders.py', packageRoot));
  // A peer's own pools of threads must not be larger than its workers.
  const env = { OMP_NUM_THREADS: '1', OPENCV_FOR_THREADS_NUM: '1', NUMBA_NUM_THREADS: String(workers) };
  const peer = (name: string, command: string, why: string | null): LoaderContender => ({
    name,
    kind: 'peer',
    program: why === null ? { command, args: [script, name], env } : null,
    missing: why,
    workers,
  });
  return [
    peer('torchvision', python, missing),
    peer('webdataset', python, missing),
    peer('dali', dali.command, dali.missing),
    peer('ffcv', python, missing ?? ffcvMissing),
  ];
}

export interface ContestOptions {
  readonly cases: readonly LoaderCase[];
  readonly contenders: readonly LoaderContender[];
  /** A contender and a case in a round, about: whole rounds of the set. */
  readonly images: number;
  readonly rounds: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** The median of a contender's rounds in one case. */
export interface Score {
  readonly case: LoaderCase;
  readonly contender: LoaderContender;
  /** Null, as what follows, where it was left out. */
  readonly imagesPerSecond: number | null;
  /** Of each round. */
  readonly rounds: readonly number[];
  /** CPU milliseconds an image, all threads and processes. */
  readonly cpuMs: number | null;
  /** Medians, each for itself; ours only. */
  readonly stages: Stages | null;
  readonly version: string | null;
}

/** @throws Fault `contender-failed`, `unequal-work` */
export async function contest(options: ContestOptions): Promise<Score[]> {
  const { cases, contenders, rounds, say, signal } = options;
  const children = new Map<LoaderContender, LoaderChild>();
  const scratch = temporary(cacheRoot());
  const scores: Score[] = [];
  try {
    for (const { name, missing, program } of contenders) if (program === null) say(`SKIPPED: ${name}: ${missing}`);
    const present = contenders.filter(({ program }) => program !== null);
    for (const each of cases) {
      const { samples, files, tars } = await readSet(each.set);
      const { set, output } = each;
      // Whole rounds of the set, so that everybody meets the same photos.
      const imagesOf = ({ share = 1 }: LoaderContender): number =>
        samples.length * Math.max(1, Math.round((share * options.images) / samples.length));
      const shape = { set, samples: samples.length, files, tars, output, scratch };
      const ask = (contender: LoaderContender, check: boolean): Promise<MeasuredAnswer> => {
        const child = children.get(contender) ?? new LoaderChild(contender.program as Program);
        children.set(contender, child);
        const { workers, task } = contender;
        const images = imagesOf(contender);
        const job: LoaderJob = {
          ...AUGMENTATION,
          ...shape,
          ...{ images, workers, check },
          ...(task === undefined ? {} : { task }),
        };
        return child.ask(job, signal);
      };
      const means = new Map<LoaderContender, number | null>();
      for (const contender of present) means.set(contender, (await ask(contender, true)).mean);
      checkMeans(each, samples.length, means);
      const answers = new Map<LoaderContender, MeasuredAnswer[]>(contenders.map((contender) => [contender, []]));
      for (let round = 0; round < rounds; round++)
        // Each round begins with another one, so that none always follows the same.
        for (const [i] of present.entries()) {
          const contender = present[(i + round) % present.length] as LoaderContender;
          const answer = await ask(contender, false);
          checkImages(contender, answer, imagesOf(contender));
          answers.get(contender)?.push(answer);
        }
      const scored = contenders.map((contender) => scoreOf(each, contender, answers.get(contender) ?? []));
      scores.push(...scored);
      const told = scored.map((score) => `${score.contender.name} ${score.imagesPerSecond?.toFixed(0) ?? 'SKIPPED'}`);
      say(`${basename(set)} → ${output}: ${told.join(', ')} images/s`);
    }
  } finally {
    for (const child of children.values()) await child.close();
    await rm(scratch, { recursive: true, force: true });
  }
  return scores;
}

function scoreOf(each: LoaderCase, contender: LoaderContender, answers: readonly MeasuredAnswer[]): Score {
  const rounds = answers.map(({ images, seconds }) => images / seconds);
  const cpu = answers.map(({ cpuMs }) => cpuMs).filter((ms) => ms !== null);
  const stages = answers.map((answer) => answer.stages).filter((each) => each !== undefined);
  const stage = (name: keyof Stages): number => median(stages.map((each) => each[name]));
  return {
    case: each,
    contender,
    imagesPerSecond: rounds.length === 0 ? null : median(rounds),
    rounds,
    cpuMs: cpu.length === 0 ? null : median(cpu),
    stages:
      stages.length === 0
        ? null
        : { read: stage('read'), decode: stage('decode'), kernel: stage('kernel'), main: stage('main') },
    version: answers[0]?.version ?? null,
  };
}

/** DALI and webdataset give whole batches and rounds of the set: more than asked for is work that was timed as well. */
function checkImages({ name }: LoaderContender, { images }: MeasuredAnswer, wanted: number): void {
  if (images < wanted) throw unequal(`${name}: ${images} images`, `at least ${wanted}`);
}

/** Random crops of the same photos have nearly the same mean, 0 … 255, the nearer the more there are; further apart, it is other pixels. */
const meansMayDiffer = (photos: number): number => Math.max(4, 60 / Math.sqrt(photos));

/** @throws Fault `unequal-work` where somebody's mean is far from ours, or where we are not there, from the decoder's */
export function checkMeans(
  { source, output }: Pick<LoaderCase, 'source' | 'output'>,
  photos: number,
  means: ReadonlyMap<Pick<LoaderContender, 'name' | 'kind'>, number | null>,
): void {
  const [reference] = [...means].find(([{ kind }]) => kind === 'ours' || kind === 'limit') ?? [];
  const expected = reference ? means.get(reference) : null;
  if (expected === null || expected === undefined) return;
  for (const [{ name }, mean] of means)
    if (mean === null || Math.abs(mean - expected) > meansMayDiffer(photos))
      throw unequal(
        `${source} → ${output}: ${name} made images of mean ${mean}`,
        `about ${expected}, as ${reference?.name}`,
      );
}

function unequal(received: string, expected: string): Fault {
  const remedy = 'the benchmark itself is wrong: mend it';
  return new Fault({ code: 'unequal-work', received, expected, remedy });
}
