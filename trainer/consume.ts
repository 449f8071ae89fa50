// `trainer consume`: joins a run, takes up the newest checkpoint, trains to the plan's end, alone or as one of several ranks.
// Rank 0 keeps what is kept (journal, checkpoints) and evaluates; the others get its state and go along.

import { Fault, killPoint, lockFolder } from '#shards';
import {
  checkStepBound,
  Feed,
  type FeedBatch,
  firstDifference,
  lanesOfRank,
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
import { type Backend, checkBackendName, loadBackend } from './backend/backend.ts';
import { writeCheckpoint } from './checkpoint.ts';
import { withCleanup } from './cleanup.ts';
import { type DataReport, DataWait, dataLine } from './data-wait.ts';
import { type EvaluationResult, evaluate } from './evaluate.ts';
import { Journal, type JournalEntry } from './journal.ts';
import { endsEpoch, train } from './loop.ts';
import { evaluated } from './methods/ema/ema.ts';
import { type ResolutionSwitch, resolutionSwitches } from './methods/progressive-resizing/progressive-resizing.ts';
import type { Model } from './model/model.ts';
import { buildModel } from './model/resnet.ts';
import { type Collective, openCollective } from './ranks/collective.ts';
import { checkGroups, exchangeOf } from './ranks/exchange.ts';
import { Meeting } from './ranks/meeting.ts';
import { broadcastState, stateDigest } from './ranks/shared-state.ts';
import { Reporting, trainerId } from './reporting.ts';
import { checkpointOf, folderToResume, otherNumerics } from './resume.ts';
import { createState, disposeState, downloadState, type HostState, type TrainState, uploadState } from './state.ts';
import { type PhaseResult, PhaseTally } from './tally.ts';

export interface ConsumeOptions {
  readonly transport: string;
  readonly run: string;
  /** Rank 0's; the others keep nothing. */
  readonly out: string;
  /** Both come from MPI where they are not given. */
  readonly rank?: number | undefined;
  readonly ranks?: number | undefined;
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
  readonly rank: number;
  readonly ranks: number;
  readonly backend: string;
  readonly steps: number;
  readonly seconds: number;
  /** Mean losses over the first and the last epoch of the run; null where the journal lacks steps of it. */
  readonly firstLoss: number | null;
  readonly finalLoss: number | null;
  readonly phases: readonly PhaseResult[];
  /** The last evaluation on the val topic, and of which weights: the moving average where the recipe has one. */
  readonly evaluation: (EvaluationResult & { readonly weights: 'average' | 'live' }) | null;
  /** How long it waited for data, and for whom; null where this process trained less than two steps. */
  readonly data: DataReport | null;
  /** What the reading met: bytes, records skipped, seeks, and the transport's retries and reconnects. */
  readonly counters: Readonly<Record<string, number>>;
}

/** Trains to the plan's end. What can be known to be wrong without the run is told before it is waited for. */
export async function consume(options: ConsumeOptions): Promise<ConsumeResult> {
  checkBackendName(options.backend);
  const collective = await openCollective(options);
  const { rank, ranks } = collective;
  const onLine = rank > 0 ? (line: string) => options.onLine(`rank ${rank}: ${line}`) : options.onLine;
  if (ranks > 1) onLine(`one of ${ranks} ranks, process ${process.pid}`);
  const meeting = new Meeting(collective);
  const own = { ...options, onLine };
  return meeting.through(() => (rank === 0 ? leading(own, collective, meeting) : joined(own, collective, meeting)));
}

async function leading(options: ConsumeOptions, collective: Collective, meeting: Meeting): Promise<ConsumeResult> {
  const lock = await lockFolder(options.out);
  const resumed = async () => joined(options, collective, meeting, await folderToResume(options.out, options));
  return withCleanup(resumed, () => lock.release());
}

/** `folder`: the checkpoint to resume from; null for a start at step 0. */
async function joined(
  options: ConsumeOptions,
  collective: Collective,
  meeting: Meeting,
  folder: string | null = null,
): Promise<ConsumeResult> {
  const { transport, run, waitMs, signal, onLine } = options;
  const feed = new Feed(onLine);
  const trained = async () => {
    const join = feed.join({ transport, run, waitMs });
    const met = await meeting.meet(
      join.then(({ planHash }) => ({ agree: { run, planHash } })),
      signal,
    );
    if (!met) throw interrupted('before the run was joined');
    return new Session(options, feed, await join, collective, meeting).run(folder);
  };
  return withCleanup(trained, () => feed.close());
}

/** How long an interrupted trainer tries to report, ms. */
const LAST_REPORT_MS = 5000;
/** How often a step is shown at most, ms. */
const TELL_MS = 1000;
/** A meeting of ranks that have come to the same step goes on, whoever is told to stop. */
const NEVER = new AbortController().signal;

class Session {
  readonly #options: ConsumeOptions;
  readonly #feed: Feed;
  readonly #meta: RunMeta;
  readonly #collective: Collective;
  readonly #meeting: Meeting;
  readonly #recipe: Recipe;
  readonly #tally: PhaseTally;
  readonly #data: DataWait;
  readonly #switches: readonly ResolutionSwitch[];
  #checkpointStep = 0;
  #toldAt = 0;
  #evaluation: ConsumeResult['evaluation'] = null;

  constructor(options: ConsumeOptions, feed: Feed, meta: RunMeta, collective: Collective, meeting: Meeting) {
    this.#options = options;
    this.#feed = feed;
    this.#meta = meta;
    this.#collective = collective;
    this.#meeting = meeting;
    this.#recipe = settingsOutsidePlan(meta, options.settings);
    this.#switches = resolutionSwitches(meta.plan);
    this.#tally = new PhaseTally(meta.plan, (resolution) => topicsOf(options.run).train(resolution));
    this.#data = new DataWait(feed);
  }

  /** `folder`: the checkpoint to resume from; null for a start at step 0. */
  async run(folder: string | null): Promise<ConsumeResult> {
    const { run, onLine, prefetchBytes, backend: name } = this.#options;
    const { plan, dataset } = this.#meta;
    const { rank, ranks } = this.#collective;
    const start = performance.now();
    checkStepBound(plan, prefetchBytes, '--prefetch');
    checkGroups(this.#recipe, ranks);
    const checkpoint = folder && (await checkpointOf(folder, this.#meta, this.#recipe));
    const backend = await loadBackend(name);
    if (backend.note) onLine(backend.note);
    const other = checkpoint && otherNumerics(backend.numerics, checkpoint.numerics, this.#options);
    if (other) onLine(other);
    const model = buildModel(this.#recipe.model, dataset.classes.length);
    const state = checkpoint
      ? uploadState(backend, model, checkpoint.state)
      : createState(backend, model, this.#recipe.seed, { average: this.#recipe.ema !== false });
    const trainer = await this.#share(backend, state);
    this.#checkpointStep = state.step;
    onLine(`${backend.name}, ${backend.numerics.threads} threads; step ${state.step} of ${plan.steps}`);
    await withCleanup(
      () => this.#toTheEnd(trainer, backend, model, state),
      async () => disposeState(backend, state),
    );
    return {
      run,
      rank,
      ranks,
      backend: backend.name,
      steps: plan.steps,
      seconds: (performance.now() - start) / 1000,
      ...this.#tally.result(),
      evaluation: this.#evaluation,
      data: this.#data.report(),
      counters: await this.#feed.counters(),
    };
  }

  /** Brings rank 0's state to all ranks, if they agree on what they train. Returns the trainer's name, which is rank 0's too. */
  async #share(backend: Backend, state: TrainState): Promise<string> {
    const { out, signal } = this.#options;
    const { rank, ranks } = this.#collective;
    const { checkpointSteps } = this.#recipe;
    const start = async () => {
      const trainer = rank === 0 ? await trainerId(out) : '';
      if (rank === 0) await this.#feed.forgetRanks({ trainer, ranks });
      const { numerics } = backend;
      const agree = { recipe: trainPartOf(this.#recipe), checkpointSteps, numerics };
      return { agree, tell: { trainer, step: state.step } };
    };
    const words = await this.#meeting.meet(start(), signal);
    if (!words) throw interrupted('before the first step');
    const { trainer, step } = words[0]?.tell ?? {};
    if (ranks > 1) broadcastState(this.#collective, backend, state, Number(step));
    return String(trainer);
  }

  /** Trains with a journal and reports beside it. Fault `interrupted` where a signal ended it before the plan's end. */
  async #toTheEnd(trainer: string, backend: Backend, model: Model, state: TrainState): Promise<void> {
    const { prefetchBytes } = this.#options;
    const { plan } = this.#meta;
    const { rank, ranks } = this.#collective;
    const journal = rank === 0 ? await this.#openJournal(state) : null;
    const trained = async () => {
      await this.#report(trainer, state.step);
      const groups = this.#recipe.groups / ranks;
      const lanes = lanesOfRank(plan, rank, ranks);
      await this.#feed.start({ meta: this.#meta, fromStep: state.step, lanes, groups, prefetchBytes });
      const [feed, meeting] = [this.#feed, this.#meeting];
      const waits = {
        get waiting() {
          return feed.waiting || meeting.waiting;
        },
      };
      const reporting = new Reporting({ state, feed: waits, write: (step) => this.#report(trainer, step) });
      const train = async () => {
        await this.#train(journal, backend, model, state, reporting.failure);
        if (meeting.stopped) await this.#save(journal, backend, model, state);
        await this.#lastReport(reporting, trainer, state.step);
      };
      await withCleanup(train, async () => reporting.stop());
    };
    await withCleanup(trained, async () => journal?.close());
    await this.#tellReading();
    if (this.#meeting.stopped && state.step < plan.steps) throw interrupted(`at step ${state.step} of ${plan.steps}`);
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

  #train(
    journal: Journal | null,
    backend: Backend,
    model: Model,
    state: TrainState,
    failure: AbortSignal,
  ): Promise<void> {
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
      exchange: exchangeOf(this.#collective, this.#meeting, this.#recipe.groups),
      meet: (step, batch) => this.#meet(step, batch, failure),
      onWait: (step) => {
        const { absent } = this.#meeting;
        const where = absent.length === 0 ? '' : ` at rank ${absent.join(', ')}`;
        this.#options.onLine(`waits for step ${step + 1}/${plan.steps}${where}`);
      },
      onStep: async (entry) => {
        const ms = performance.now() - mark;
        this.#tally.add(entry, ms);
        this.#data.add(ms);
        await journal?.append(entry);
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

  /** The batch of `step` once all ranks have theirs. A report that failed ends the run, a rank that is to stop all ranks. */
  async #meet(step: number, batch: Promise<FeedBatch | null>, failure: AbortSignal): Promise<FeedBatch | null> {
    const ready = async () => {
      const own = await untilAborted(batch, failure);
      failure.throwIfAborted();
      return { agree: { step, ended: own === null } };
    };
    return (await this.#meeting.meet(ready(), this.#options.signal)) && batch;
  }

  /** All ranks come here at the same steps. What is saved is what each of them holds. */
  async #save(journal: Journal | null, backend: Backend, model: Model, state: TrainState): Promise<void> {
    if (this.#checkpointStep === state.step) return;
    const host = await downloadState(state);
    if (this.#collective.ranks > 1) {
      // Rank 0 may come from an evaluation, so the others wait with their hands free.
      const agree = async () => ({ agree: { step: state.step, state: stateDigest(host) } });
      await this.#meeting.meet(agree(), NEVER);
    }
    // The others do not wait for rank 0 to have written it: what a resume needs is kept until rank 0 has reported it, too.
    if (journal) await this.#write(journal, backend, model, host);
    this.#checkpointStep = state.step;
  }

  async #write(journal: Journal, backend: Backend, model: Model, state: HostState): Promise<void> {
    await journal.sync();
    await writeCheckpoint(this.#options.out, {
      state,
      model,
      recipe: this.#recipe,
      dataset: this.#meta.plan.dataset,
      planHash: this.#meta.planHash,
      trainHash: trainHashOf(this.#recipe),
      numerics: backend.numerics,
    });
  }

  async #evaluate(backend: Backend, model: Model, state: TrainState, epoch: number, resolution: number): Promise<void> {
    if (this.#collective.rank > 0) return;
    const feed = this.#feed;
    async function* batches() {
      for await (const { images, labelA } of feed.evaluation(resolution)) {
        killPoint('evaluation', epoch);
        yield { images, labels: labelA, resolution };
      }
    }
    const { values, weights } = evaluated(state);
    this.#evaluation = { ...(await evaluate(backend, model, values, batches())), weights };
    const { top1, loss, samples } = this.#evaluation;
    const figures = `top-1 ${(100 * top1).toFixed(1)} %, loss ${loss.toFixed(4)} on ${samples} at ${resolution} px, ${weights} weights`;
    this.#options.onLine(`epoch ${epoch}: val ${figures}`);
  }

  #tell({ step, loss, lr }: JournalEntry): void {
    if (this.#collective.rank > 0) return;
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
    const { onLine } = this.#options;
    const written = async () => {
      await reporting.finish();
      await this.#report(trainer, step);
      return true;
    };
    if (!this.#meeting.stopped) await written();
    else if (!(await untilAborted(written(), AbortSignal.timeout(LAST_REPORT_MS))))
      onLine(`step ${step} is not reported: the log gave no answer in ${LAST_REPORT_MS / 1000} s`);
  }

  #report(trainer: string, step: number): Promise<void> {
    const { rank } = this.#collective;
    return this.#feed.report({ trainer, rank, consumedStep: step - 1, checkpointStep: this.#checkpointStep });
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
