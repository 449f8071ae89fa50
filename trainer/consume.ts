// `trainer consume`: joins a run, takes up the newest checkpoint, trains to the plan's end.

import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, writeFileDurably } from '#shards';
import {
  checkStepBound,
  Feed,
  firstDifference,
  planHashOf,
  type Recipe,
  type RunMeta,
  resolvePlan,
  topicsOf,
  trainHashOf,
  trainPartOf,
  untilAborted,
  withSettings,
} from '#stream';
import { type Backend, loadBackend } from './backend/backend.ts';
import { type Checkpoint, latestCheckpoint, readCheckpoint, writeCheckpoint } from './checkpoint.ts';
import { type EvaluationResult, evaluate } from './evaluate.ts';
import { Journal, type JournalEntry } from './journal.ts';
import { lockOut } from './lock.ts';
import { train } from './loop.ts';
import { type ResolutionSwitch, resolutionSwitches } from './methods/progressive-resizing/progressive-resizing.ts';
import type { Model } from './model/model.ts';
import { buildModel } from './model/resnet.ts';
import { createState, disposeState, downloadState, type TrainState, uploadState } from './state.ts';
import { type PhaseResult, PhaseTally } from './tally.ts';

export interface ConsumeOptions {
  readonly transport: string;
  readonly run: string;
  readonly out: string;
  readonly backend: string;
  /** Changes to the recipe outside the planHash, each KEY=VALUE. */
  readonly settings: readonly string[];
  readonly resume: boolean;
  /** Resume although backend, library, threads or processor differ: the curve is then not the same to the bit. */
  readonly allowOtherNumerics: boolean;
  /** How long to wait for a run that nobody has begun. */
  readonly waitMs: number;
  readonly prefetchBytes: number;
  readonly signal: AbortSignal;
  readonly onLine: (line: string) => void;
}

export interface ConsumeResult {
  readonly run: string;
  readonly backend: string;
  readonly steps: number;
  readonly seconds: number;
  /** Mean losses over the first and the last epoch of the run. */
  readonly firstLoss: number;
  readonly finalLoss: number;
  readonly phases: readonly PhaseResult[];
  /** The last evaluation on the val topic. */
  readonly evaluation: EvaluationResult | null;
}

export async function consume(options: ConsumeOptions): Promise<ConsumeResult> {
  const lock = await lockOut(options.out);
  const feed = new Feed(options.onLine);
  try {
    const { transport, run, waitMs, signal } = options;
    const meta = await untilAborted(feed.join({ transport, run, waitMs }), signal);
    if (!meta) throw interrupted('before the run was joined');
    return await new Session(options, feed, meta).run();
  } finally {
    await feed.close();
    await lock.release();
  }
}

/** How often a step is shown and reported at most, ms. */
const TELL_MS = 1000;

class Session {
  readonly #options: ConsumeOptions;
  readonly #feed: Feed;
  readonly #meta: RunMeta;
  readonly #recipe: Recipe;
  readonly #tally: PhaseTally;
  readonly #switches: readonly ResolutionSwitch[];
  #checkpointStep = 0;
  #toldAt = 0;
  #evaluation: EvaluationResult | null = null;

  constructor(options: ConsumeOptions, feed: Feed, meta: RunMeta) {
    this.#options = options;
    this.#feed = feed;
    this.#meta = meta;
    this.#recipe = settingsOutsidePlan(meta, options.settings);
    this.#switches = resolutionSwitches(meta.plan);
    this.#tally = new PhaseTally(meta.plan, (resolution) => topicsOf(options.run).train(resolution));
  }

  async run(): Promise<ConsumeResult> {
    const { out, run, signal, onLine, prefetchBytes } = this.#options;
    const { plan } = this.#meta;
    const start = performance.now();
    checkStepBound(plan, prefetchBytes, '--prefetch');
    const checkpoint = await this.#checkpoint();
    const backend = await loadBackend(this.#options.backend);
    if (backend.note) onLine(backend.note);
    if (checkpoint) this.#checkNumerics(checkpoint, backend);
    const model = buildModel(this.#recipe.model, this.#meta.dataset.classes.length);
    const state = checkpoint
      ? uploadState(backend, model, checkpoint.state)
      : createState(backend, model, this.#recipe.seed);
    this.#checkpointStep = state.step;
    onLine(`${backend.name}, ${backend.numerics.threads} threads; step ${state.step} of ${plan.steps}`);
    const journal = await Journal.open(out, state.step, (entry) => this.#tally.add(entry, null));
    const trainer = await trainerId(out);
    await this.#report(trainer, state.step);
    await this.#feed.start({ meta: this.#meta, fromStep: state.step, groups: this.#recipe.groups, prefetchBytes });

    const reporting = this.#reportRegularly(trainer, state);
    try {
      await this.#train(journal, backend, model, state);
      if (signal.aborted) await this.#save(journal, backend, model, state);
    } finally {
      await reporting.stop();
      await journal.close();
    }
    await this.#report(trainer, state.step);
    disposeState(backend, state);
    if (signal.aborted) throw interrupted(`at step ${state.step} of ${plan.steps}`);
    return {
      run,
      backend: backend.name,
      steps: plan.steps,
      seconds: (performance.now() - start) / 1000,
      ...this.#tally.result(),
      evaluation: this.#evaluation,
    };
  }

  #train(journal: Journal, backend: Backend, model: Model, state: TrainState): Promise<void> {
    // From the end of what surrounds a step to the end of the next step: its wait and its work.
    let mark = performance.now();
    return train({
      feed: this.#feed,
      plan: this.#meta.plan,
      recipe: this.#recipe,
      backend,
      model,
      state,
      signal: this.#options.signal,
      onStep: async (entry) => {
        this.#tally.add(entry, performance.now() - mark);
        await journal.append(entry);
        if (state.step % this.#recipe.checkpointSteps === 0) await this.#save(journal, backend, model, state);
        this.#tell(entry);
        mark = performance.now();
      },
      onEpoch: async (epoch, resolution) => {
        await this.#evaluate(backend, model, state, epoch, resolution);
        await this.#save(journal, backend, model, state);
        mark = performance.now();
      },
    });
  }

  /** The checkpoint to resume from, checked against this run; null for a start at step 0. */
  async #checkpoint(): Promise<Checkpoint | null> {
    const { out, resume } = this.#options;
    const folder = await latestCheckpoint(out);
    if (!folder) return null;
    if (!resume)
      throw new Fault({
        code: 'out-taken',
        received: `--out ${out}, which holds ${folder}`,
        expected: 'a folder without checkpoints, or --resume',
        remedy: 'add --resume to go on, or choose another --out',
      });
    const checkpoint = await readCheckpoint(folder);
    const { recipe, dataset } = checkpoint;
    const differing =
      firstDifference(this.#meta.plan, resolvePlan(recipe, dataset), 'plan') ??
      firstDifference(trainPartOf(this.#recipe), trainPartOf(recipe), 'recipe');
    if (differing)
      throw new Fault({
        code: 'checkpoint-of-another-run',
        received: `${differing.key} = ${differing.ours}`,
        expected: `${differing.theirs}, which ${folder} was trained with`,
        remedy: 'resume with the same run and the same --set, or choose another --out',
      });
    return checkpoint;
  }

  #checkNumerics(checkpoint: Checkpoint, backend: Backend): void {
    const differing = firstDifference(backend.numerics, checkpoint.numerics, 'numerics');
    if (!differing) return;
    if (!this.#options.allowOtherNumerics)
      throw new Fault({
        code: 'other-numerics',
        received: `${differing.key} = ${differing.ours}`,
        expected: `${differing.theirs}, as in the checkpoint: else the curve is not the same to the bit`,
        remedy: 'resume with the same backend and threads, or add --allow-other-numerics',
      });
    this.#options.onLine(`resuming under other numerics: ${differing.key} was ${differing.theirs}`);
  }

  async #save(journal: Journal, backend: Backend, model: Model, state: TrainState): Promise<void> {
    if (this.#checkpointStep === state.step) return;
    await journal.sync();
    await writeCheckpoint(this.#options.out, {
      state: await downloadState(state),
      model,
      recipe: this.#recipe,
      dataset: this.#meta.plan.dataset,
      planHash: this.#meta.planHash,
      trainHash: trainHashOf(this.#recipe),
      numerics: backend.numerics,
    });
    this.#checkpointStep = state.step;
  }

  async #evaluate(backend: Backend, model: Model, state: TrainState, epoch: number, resolution: number): Promise<void> {
    const feed = this.#feed;
    async function* batches() {
      for await (const { images, labelA } of feed.evaluation(resolution)) yield { images, labels: labelA, resolution };
    }
    this.#evaluation = await evaluate(backend, model, state, batches());
    const { top1, loss, samples } = this.#evaluation;
    const figures = `top-1 ${(100 * top1).toFixed(1)} %, loss ${loss.toFixed(4)} on ${samples} at ${resolution} px`;
    this.#options.onLine(`epoch ${epoch}: val ${figures}`);
  }

  #tell({ step, loss, lr, waitMs }: JournalEntry): void {
    const change = this.#switches.find((resolution) => resolution.step === step);
    if (change) this.#options.onLine(`step ${step + 1}: from ${change.from} to ${change.to} px, the next topic`);
    const now = performance.now();
    if (now - this.#toldAt < TELL_MS) return;
    this.#toldAt = now;
    const { steps } = this.#meta.plan;
    this.#options.onLine(
      `step ${step + 1}/${steps}: loss ${loss.toFixed(4)}, lr ${lr.toPrecision(3)}, waited ${waitMs} ms`,
    );
  }

  /** Reports beside the steps, and without delay when this trainer waits: a producer may be waiting for its report. */
  #reportRegularly(trainer: string, state: TrainState): { stop: () => Promise<void> } {
    let reported = state.step;
    let at = performance.now();
    let last = Promise.resolve();
    const timer = setInterval(() => {
      if (state.step === reported || (!this.#feed.waiting && performance.now() - at < TELL_MS)) return;
      reported = state.step;
      at = performance.now();
      last = last.then(() => this.#report(trainer, reported));
      // Met at `stop`; a log that is gone also ends the feed.
      last.catch(() => {});
    }, 20);
    return {
      stop: () => {
        clearInterval(timer);
        return last;
      },
    };
  }

  #report(trainer: string, step: number): Promise<void> {
    return this.#feed.report({ trainer, rank: 0, consumedStep: step - 1, checkpointStep: this.#checkpointStep });
  }
}

/** The run's recipe with `settings`, which may touch only what the planHash does not cover. */
function settingsOutsidePlan(meta: RunMeta, settings: readonly string[]): Recipe {
  const recipe = withSettings(meta.recipe, settings);
  const plan = resolvePlan(recipe, meta.plan.dataset);
  if (planHashOf(plan) === meta.planHash) return recipe;
  const differing = firstDifference(plan, meta.plan);
  throw new Fault({
    code: 'set-changes-stream',
    received: `--set ${settings.join(' ')}, which makes ${differing?.key} ${differing?.ours}`,
    expected: `${differing?.theirs}, as the stream was produced`,
    remedy: 'give such keys to stream produce under another --run',
    exit: 2,
  });
}

/** Who this trainer is in RUN.progress: kept in OUT, so that a restarted one takes up its own entry. */
async function trainerId(out: string): Promise<string> {
  const file = join(out, 'trainer-id');
  await mkdir(out, { recursive: true });
  const known = await readFile(file, 'utf8').catch(() => '');
  if (known.trim() !== '') return known.trim();
  const id = randomUUID();
  await writeFileDurably(file, `${id}\n`);
  return id;
}

function interrupted(where: string): Fault {
  return new Fault({
    code: 'interrupted',
    received: `a signal to stop ${where}`,
    expected: 'the end of the plan',
    remedy: 'start the same command with --resume: it goes on from there',
  });
}
