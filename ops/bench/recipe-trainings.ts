// One training of `ops bench recipe`, by the commands that people type, and the streams that several trainings share.

import { appendFile, readFile, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { type Manifest, readManifest } from '#shards';
import { planHashOf, type Recipe, resolvePlan, trainHashOf, withSettings } from '#stream';
import type { ConsumeResult, EvaluateResult, JournalEntry } from '#trainer';
import { type CommandOptions, runCommand } from '../quickstart/commands.ts';
import type { RecipeRow } from './recipe-rows.ts';

/** What is to be trained. Equal plan hashes share a stream. */
export interface Job {
  readonly row: RecipeRow;
  readonly seed: number;
  readonly recipe: Recipe;
  readonly planHash: string;
  readonly trainHash: string;
  readonly who: 'ours' | 'pytorch';
}

export type Scores = Pick<EvaluateResult, 'samples' | 'top1' | 'loss'>;

/** What a training gave: one line of results.jsonl. */
export interface Training {
  readonly row: string;
  readonly seed: number;
  readonly who: Job['who'];
  readonly planHash: string;
  readonly trainHash: string;
  /** As asked for. */
  readonly backend: string;
  readonly threads: number;
  /** Of each step, at w, with MixUp and smoothing. */
  readonly losses: readonly number[];
  /** By phase. */
  readonly msPerStep: readonly number[];
  readonly seconds: number;
  /** Unaugmented photos at the last resolution, hard labels, whatever the row trained with; null of PyTorch's. */
  readonly train: Scores | null;
  readonly val: Scores | null;
}

export interface Place {
  /** Folder of the benchmark. */
  readonly out: string;
  readonly shards: string;
  readonly recipe: string;
  readonly backend: string;
  /** Of each trainer. */
  readonly threads: number;
}

export function jobOf(base: Recipe, dataset: Manifest['dataset'], row: RecipeRow, seed: number, who: Job['who']): Job {
  const recipe = withSettings(base, [`seed=${seed}`, ...row.stream, ...row.train]);
  const planHash = planHashOf(resolvePlan(recipe, dataset));
  return { row, seed, recipe, planHash, trainHash: trainHashOf(recipe), who };
}

/** A run of the embedded log that was produced to its end. */
export interface Stream {
  readonly run: string;
  readonly transport: string;
}

/** Streams by plan: each is produced when the first training asks for it, and removed after the last. */
export class SharedStreams {
  readonly #place: Place;
  readonly #options: CommandOptions;
  readonly #left = new Map<string, number>();
  readonly #made = new Map<string, Promise<Stream>>();

  constructor(place: Place, jobs: readonly Job[], options: CommandOptions) {
    this.#place = place;
    this.#options = options;
    for (const { planHash } of jobs) this.#left.set(planHash, (this.#left.get(planHash) ?? 0) + 1);
  }

  async use<Result>(job: Job, body: (stream: Stream) => Promise<Result>): Promise<Result> {
    const { planHash } = job;
    const made = this.#made.get(planHash) ?? this.#produce(job);
    this.#made.set(planHash, made);
    const result = await body(await made);
    const left = (this.#left.get(planHash) ?? 0) - 1;
    this.#left.set(planHash, left);
    if (left === 0) await rm(this.#folder(planHash), { recursive: true });
    return result;
  }

  #folder(planHash: string): string {
    return join(this.#place.out, `log-${planHash.slice(0, 12)}`);
  }

  async #produce({ planHash, seed, row }: Job): Promise<Stream> {
    const { shards, recipe } = this.#place;
    const stream = { run: 'recipe', transport: `log:${this.#folder(planHash)}` };
    await rm(this.#folder(planHash), { recursive: true, force: true });
    const settings = [`seed=${seed}`, ...row.stream].flatMap((setting) => ['--set', setting]);
    const run = ['--run', stream.run, '--transport', stream.transport];
    await runCommand('stream', ['produce', ...run, '--shards', shards, '--recipe', recipe, ...settings], this.#options);
    return stream;
  }
}

export async function packOnce(source: string, place: Place, recipe: Recipe, options: CommandOptions) {
  const { shards } = place;
  await rm(shards, { recursive: true, force: true });
  const buckets = [...new Set(recipe.phases.map(({ resolution }) => resolution))].join(',');
  await runCommand('preprocess', ['shard', '--source', source, '--out', shards, '--buckets', buckets], options);
  return (await readManifest(shards)).dataset;
}

/** Trains and evaluates; leaves nothing behind. */
export async function train(job: Job, stream: Stream, place: Place, options: CommandOptions): Promise<Training> {
  const { row, seed, who, planHash, trainHash, recipe } = job;
  const { shards, backend, threads } = place;
  const out = folderOf(job, place);
  await rm(out, { recursive: true, force: true });
  const settings = row.train.flatMap((setting) => ['--set', setting]);
  const run = ['--run', stream.run, '--transport', stream.transport, '--out', out, '--backend', backend];
  const consumed = (await runCommand('trainer', ['consume', ...run, ...settings], options)) as unknown as ConsumeResult;
  const evaluateOn = async (split: string): Promise<Scores> => {
    const args = ['evaluate', '--checkpoint', out, '--shards', shards, '--split', split, '--backend', backend];
    const { samples, top1, loss } = (await runCommand('trainer', args, options)) as unknown as EvaluateResult;
    return { samples, top1, loss };
  };
  const [train, val] = [await evaluateOn('train'), await evaluateOn('val')];
  const journal = (await readFile(join(out, 'journal.jsonl'), 'utf8')).trim().split('\n');
  const losses = journal.map((line) => (JSON.parse(line) as JournalEntry).loss);
  const msPerStep = consumed.phases.map(
    ({ imagesPerSecond }, i) => (1000 * (recipe.phases[i]?.batch ?? 0)) / imagesPerSecond,
  );
  await rm(out, { recursive: true });
  const { seconds } = consumed;
  const about = { row: row.name, seed, who, planHash, trainHash, backend, threads };
  return { ...about, losses, msPerStep, seconds, train, val };
}

/** A folder of the job's own. */
export function folderOf({ who, seed, planHash, trainHash }: Job, { out }: Place): string {
  return join(out, `${who}-${seed}-${planHash.slice(0, 8)}-${trainHash.slice(0, 8)}`);
}

const resultsIn = (out: string) => join(out, 'results.jsonl');

/** Those of an earlier, interrupted benchmark; none where there was none. A line that its end cut short goes. */
export async function earlierTrainings(out: string): Promise<Training[]> {
  const text = await readFile(resultsIn(out), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  if (whole.length < text.length) await truncate(resultsIn(out), Buffer.byteLength(whole));
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Training);
}

export async function keepTraining(out: string, training: Training): Promise<void> {
  await appendFile(resultsIn(out), `${JSON.stringify(training)}\n`);
}
