// `ops bench recipe`: what each method of a recipe is worth on real photos, over several seeds, and the same in PyTorch.

import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Fault, type Manifest } from '#shards';
import { loadRecipe } from '#stream';
import type { CommandOptions } from '../quickstart/commands.ts';
import { packageRoot } from '../setup/plain.ts';
import { type Machine, machine } from './machine.ts';
import { torchPython, trainInPytorch } from './recipe-pytorch.ts';
import { type RecipeRow, rowsOf, WHOLE } from './recipe-rows.ts';
import { type Parity, parityOf, type RowScores, rowScores, trainingLine } from './recipe-scores.ts';
import {
  earlierTrainings,
  type Job,
  jobOf,
  keepTraining,
  type Place,
  packOnce,
  SharedStreams,
  type Training,
  train,
} from './recipe-trainings.ts';

export interface RecipeBenchOptions {
  /** Seeds 0 … seeds − 1, each of stream and weights. */
  readonly seeds: number;
  /** A name of stream/recipes, or a file. */
  readonly recipe: string;
  readonly backend: string;
  /** Trainers at once; each takes an equal share of the processors as its threads. */
  readonly parallel: number;
  /** Compare with PyTorch in the place of the methods. */
  readonly pytorch: boolean;
  /** An interpreter with torch; null installs one in the cache. */
  readonly python: string | null;
  /** Keeps every result, and the folders of what is being trained. */
  readonly out: string;
  /** Take over what an earlier benchmark left in `out`. */
  readonly resume: boolean;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface RecipeBenchResult {
  readonly machine: Machine;
  readonly recipe: string;
  readonly seeds: number;
  readonly threads: number;
  /** `ratio`: mean val loss over the whole recipe's. */
  readonly rows: readonly (RowScores & { readonly ratio: number })[];
  /** Null without --pytorch. */
  readonly parity: Parity | null;
}

const PHOTOS = fileURLToPath(new URL('test/fixtures/photos', packageRoot));

export async function benchRecipe(options: RecipeBenchOptions): Promise<RecipeBenchResult> {
  const { seeds, recipe: name, out, parallel, pytorch, say } = options;
  const base = await loadRecipe(name);
  const rows = pytorch ? rowsOf(base).filter((row) => row.name === WHOLE) : rowsOf(base);
  const python = pytorch ? await torchPython(options.python, say) : '';
  const earlier = await earlierTrainings(out);
  if (earlier.length > 0 && !options.resume) throw taken(out, earlier.length);
  await mkdir(out, { recursive: true });

  const threads = Math.max(1, Math.floor(availableParallelism() / parallel));
  const place: Place = { out, shards: `${out}/shards`, recipe: name, backend: options.backend, threads };
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  // The children's own lines are theirs; what fails comes as a Fault.
  const commands: CommandOptions = { onLine: () => {}, signal, env: { TF_NUM_INTRAOP_THREADS: String(threads) } };
  const dataset = await packOnce(PHOTOS, place, base, commands);

  // A stream after the other, so that few logs lie on the disk; rows of one stream end together.
  const trainers: readonly Job['who'][] = pytorch ? ['ours', 'pytorch'] : ['ours'];
  const jobs = sameStream(rows).flatMap((same) =>
    Array.from({ length: seeds }, (_, seed) =>
      same.flatMap((row) => trainers.map((who) => jobOf(base, dataset, row, seed, who))),
    ).flat(),
  );
  const done = new Map<Job, Training>();
  for (const job of jobs) {
    const found = earlier.find((training) => sameTraining(job, training, place));
    if (found) done.set(job, { ...found, row: job.row.name });
  }
  const todo = jobs.filter((job) => !done.has(job));
  const shared = new SharedStreams(place, todo, commands);
  say(
    `${jobs.length} trainings of ${base.name}, ${parallel} at a time with ${threads} threads each; ${done.size} are done already`,
  );

  const began = performance.now();
  const one = async (job: Job) => {
    const training = await shared.use(job, (stream) =>
      job.who === 'ours'
        ? train(job, stream, place, commands)
        : trainInPytorch(job, stream, place, { python, dataset }, commands),
    );
    await keepTraining(out, training);
    done.set(job, training);
    const ended = todo.filter((each) => done.has(each)).length;
    const minutes = ((performance.now() - began) / 60_000 / ended) * (todo.length - ended);
    say(`${done.size} of ${jobs.length}: ${trainingLine(training)}; about ${minutes.toFixed(0)} min to go`);
  };
  try {
    await inTurns(todo, parallel, one);
  } catch (error) {
    stop.abort(error);
    options.signal.throwIfAborted();
    throw error;
  }
  return { ...resultOf(rows, [...done.values()], dataset), machine: machine(parallel), recipe: name, seeds, threads };
}

function resultOf(
  rows: readonly RecipeRow[],
  trainings: readonly Training[],
  { counts }: Manifest['dataset'],
): Pick<RecipeBenchResult, 'rows' | 'parity'> {
  const bySeed = (row: string, who: Job['who']) =>
    trainings.filter((each) => each.row === row && each.who === who).sort((a, b) => a.seed - b.seed);
  const whole = bySeed(WHOLE, 'ours');
  const scores = rows.map((row) => rowScores(row, bySeed(row.name, 'ours'), whole, counts.val));
  const reference = scores[0]?.valLoss.mean ?? Number.NaN;
  const theirs = bySeed(WHOLE, 'pytorch');
  return {
    rows: scores.map((score) => ({ ...score, ratio: score.valLoss.mean / reference })),
    parity: theirs.length > 0 ? parityOf(whole, theirs) : null,
  };
}

/** Rows by what they set of the stream, in the order given. */
function sameStream(rows: readonly RecipeRow[]): RecipeRow[][] {
  const groups = new Map<string, RecipeRow[]>();
  for (const row of rows) {
    const key = row.stream.join(' ');
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()];
}

/** Whether an earlier result is of this job: hashes cover recipe, seed of the stream, dataset and formats. */
function sameTraining(job: Job, training: Training, { backend, threads }: Place): boolean {
  const keys = ['seed', 'who', 'planHash', 'trainHash'] as const;
  return (
    keys.every((key) => job[key] === training[key]) && training.backend === backend && training.threads === threads
  );
}

/** Runs `body` on all, at most `parallel` at once, begun in order. After a failure none begins. */
async function inTurns<Item>(items: readonly Item[], parallel: number, body: (item: Item) => Promise<void>) {
  const left = items[Symbol.iterator]();
  let failed = false;
  const worker = async () => {
    for (const item of left) {
      if (failed) return;
      try {
        await body(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}

function taken(out: string, trainings: number): Fault {
  return new Fault({
    code: 'out-taken',
    received: `--out ${out}, which holds ${trainings} trainings`,
    expected: 'a folder without results, or --resume',
    remedy: 'give --resume to go on from there, or another --out',
    exit: 2,
  });
}
