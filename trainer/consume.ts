// `trainer consume`: joins a run, takes up the newest checkpoint, trains to the plan's end.

import { Fault, killPoint, lockFolder } from '#shards';
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
  untilAborted,
  withSettings,
} from '#stream';
import { type Backend, checkBackendName, loadBackend } from './backend/backend.ts';
import { writeCheckpoint } from './checkpoint.ts';
import { withCleanup } from './cleanup.ts';
import { type DataReport, DataWait, dataLine } from './data-wait.ts';
import { type EvaluationResult, evaluate } from './evaluate.ts';
import { Journal, type JournalEntry } from './journal.ts';
import { endsEpoch, train } from './loop.ts';
import { type ResolutionSwitch, resolutionSwitches } from './methods/progressive-resizing/progressive-resizing.ts';
import type { Model } from './model/model.ts';
import { buildModel } from './model/resnet.ts';
import { Reporting, trainerId } from './reporting.ts';
import { checkpointOf, folderToResume, otherNumerics } from './resume.ts';
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
  /** Mean losses over the first and the last epoch of the run; null where the journal lacks steps of it. */
  readonly firstLoss: number | null;
  readonly finalLoss: number | null;
  readonly phases: readonly PhaseResult[];
  /** The last evaluation on the val topic. */
  readonly evaluation: EvaluationResult | null;
  /** How long it waited for data, and for whom; null where this process trained less than two steps. */
  readonly data: DataReport | null;
  /** What the reading met: bytes, records skipped, seeks, and the transport's retries and reconnects. */
  readonly counters: Readonly<Record<string, number>>;
}

/** Trains to the plan's end. What can be known to be wrong without the run is told before it is waited for. */
export async function consume(options: ConsumeOptions): Promise<ConsumeResult> {
  const { transport, run, out, waitMs, signal, onLine } = options;
  checkBackendName(options.backend);
  const lock = await lockFolder(out);
  const joined = async () => {
    const folder = await folderToResume(out, options);
    const feed = new Feed(onLine);
    const trained = async () => {
      const meta = await untilAborted(feed.join({ transport, run, waitMs }), signal);
      if (!meta) throw interrupted('before the run was joined');
      return new Session(options, feed, meta).run(folder);
    };
    return withCleanup(trained, () => feed.close());
  };
  return withCleanup(joined, () => lock.release());
}

/** How long an interrupted trainer tries to report, ms. */
const LAST_REPORT_MS = 5000;
/** How often a step is shown at most, ms. */
const TELL_MS = 1000;

class Session {
  readonly #options: ConsumeOptions;
  readonly #feed: Feed;
  readonly #meta: RunMeta;
  readonly #recipe: Recipe;
  readonly #tally: PhaseTally;
  readonly #data: DataWait;
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
    this.#data = new DataWait(feed);
  }

  /** `folder`: the checkpoint to resume from; null for a start at step 0. */
  async run(folder: string | null): Promise<ConsumeResult> {
    const { run, onLine, prefetchBytes, backend: name } = this.#options;
    const { plan, dataset } = this.#meta;
    const start = performance.now();
    checkStepBound(plan, prefetchBytes, '--prefetch');
    const checkpoint = folder && (await checkpointOf(folder, this.#meta, this.#recipe));
    const backend = await loadBackend(name);
    if (backend.note) onLine(backend.note);
    const other = checkpoint && otherNumerics(backend.numerics, checkpoint.numerics, this.#options);
    if (other) onLine(other);
    const model = buildModel(this.#recipe.model, dataset.classes.length);
    const state = checkpoint
      ? uploadState(backend, model, checkpoint.state)
      : createState(backend, model, this.#recipe.seed);
    this.#checkpointStep = state.step;
    onLine(`${backend.name}, ${backend.numerics.threads} threads; step ${state.step} of ${plan.steps}`);
    await withCleanup(
      () => this.#toTheEnd(backend, model, state),
      async () => disposeState(backend, state),
    );
    return {
      run,
      backend: backend.name,
      steps: plan.steps,
      seconds: (performance.now() - start) / 1000,
      ...this.#tally.result(),
      evaluation: this.#evaluation,
      data: this.#data.report(),
      counters: await this.#feed.counters(),
    };
  }

  /** Trains with a journal and reports beside it. Fault `interrupted` where a signal ended it before the plan's end. */
  async #toTheEnd(backend: Backend, model: Model, state: TrainState): Promise<void> {
    const { out, signal, prefetchBytes } = this.#options;
    const { plan } = this.#meta;
    const trainer = await trainerId(out);
    const journal = await this.#openJournal(state);
    const trained = async () => {
      await this.#report(trainer, state.step);
      await this.#feed.start({ meta: this.#meta, fromStep: state.step, groups: this.#recipe.groups, prefetchBytes });
      const reporting = new Reporting({ state, feed: this.#feed, write: (step) => this.#report(trainer, step) });
      const train = async () => {
        await this.#train(journal, backend, model, state, AbortSignal.any([signal, reporting.failure]));
        if (signal.aborted) await this.#save(journal, backend, model, state);
        await this.#lastReport(reporting, trainer, state.step);
      };
      await withCleanup(train, async () => reporting.stop());
    };
    await withCleanup(trained, () => journal.close());
    await this.#tellReading();
    if (signal.aborted && state.step < plan.steps) throw interrupted(`at step ${state.step} of ${plan.steps}`);
  }

  async #openJournal({ step }: TrainState): Promise<Journal> {
    const journal = await Journal.open(this.#options.out, step, (entry) => this.#tally.add(entry, null));
    const { lastStep } = journal;
    if (lastStep < step - 1) {
      const held = lastStep < 0 ? 'no steps' : `steps up to ${lastStep}`;
      this.#options.onLine(
        `the journal holds ${held}, the checkpoint resumes at ${step}: those between are lost to it`,
      );
    }
    return journal;
  }

  #train(journal: Journal, backend: Backend, model: Model, state: TrainState, signal: AbortSignal): Promise<void> {
    const { plan } = this.#meta;
    // From the end of what surrounds a step to the end of the next step: its wait and its work.
    let mark = performance.now();
    return train({
      feed: this.#feed,
      plan,
      recipe: this.#recipe,
      backend,
      model,
      state,
      signal,
      onWait: (step) => this.#options.onLine(`waits for step ${step + 1}/${plan.steps}`),
      onStep: async (entry) => {
        const ms = performance.now() - mark;
        this.#tally.add(entry, ms);
        this.#data.add(ms);
        await journal.append(entry);
        killPoint('journal-appended', entry.step);
        // At an epoch's end only after the evaluation: a run killed between the two would never do it.
        if (state.step % this.#recipe.checkpointSteps === 0 && !endsEpoch(plan, entry.step))
          await this.#save(journal, backend, model, state);
        this.#tell(entry);
        mark = performance.now();
      },
      onEpoch: async (epoch, resolution) => {
        await this.#evaluate(backend, model, state, epoch, resolution);
        killPoint('evaluation-done', epoch);
        await this.#save(journal, backend, model, state);
        mark = performance.now();
      },
    });
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
      for await (const { images, labelA } of feed.evaluation(resolution)) {
        killPoint('evaluation', epoch);
        yield { images, labels: labelA, resolution };
      }
    }
    this.#evaluation = await evaluate(backend, model, state, batches());
    const { top1, loss, samples } = this.#evaluation;
    const figures = `top-1 ${(100 * top1).toFixed(1)} %, loss ${loss.toFixed(4)} on ${samples} at ${resolution} px`;
    this.#options.onLine(`epoch ${epoch}: val ${figures}`);
  }

  #tell({ step, loss, lr }: JournalEntry): void {
    const change = this.#switches.find((resolution) => resolution.step === step);
    if (change) this.#options.onLine(`step ${step + 1}: from ${change.from} to ${change.to} px, the next topic`);
    const now = performance.now();
    if (now - this.#toldAt < TELL_MS) return;
    this.#toldAt = now;
    const { steps } = this.#meta.plan;
    const waited = `${Math.round(100 * this.#data.recent())} %`;
    this.#options.onLine(
      `step ${step + 1}/${steps}: loss ${loss.toFixed(4)}, lr ${lr.toPrecision(3)}, waited ${waited} of the time`,
    );
  }

  /** At the end one line on the waits for data, and one of what was out of the ordinary. */
  async #tellReading(): Promise<void> {
    const data = this.#data.report();
    if (data) this.#options.onLine(dataLine(data));
    const { bytes: _, ...counters } = await this.#feed.counters();
    const met = Object.entries(counters).filter(([, count]) => count !== 0);
    if (met.length > 0) this.#options.onLine(`reading: ${met.map(([name, count]) => `${name} ${count}`).join(', ')}`);
  }

  /** A signal's end does not wait for a log that is gone: the checkpoint is written, producers keep what they knew. */
  async #lastReport(reporting: Reporting, trainer: string, step: number): Promise<void> {
    const { signal, onLine } = this.#options;
    const written = async () => {
      await reporting.finish();
      await this.#report(trainer, step);
      return true;
    };
    if (!signal.aborted) await written();
    else if (!(await untilAborted(written(), AbortSignal.timeout(LAST_REPORT_MS))))
      onLine(`step ${step} is not reported: the log gave no answer in ${LAST_REPORT_MS / 1000} s`);
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

function interrupted(where: string): Fault {
  return new Fault({
    code: 'interrupted',
    received: `a signal to stop ${where}`,
    expected: 'the end of the plan',
    remedy: 'start the same command with --resume: it goes on from there',
  });
}
