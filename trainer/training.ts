// The loop and what surrounds its steps: the journal and the reports beside them, evaluation and checkpoint after an epoch.

import { killPoint } from '#shards';
import { type FeedBatch, lanesOfRank, type Recipe, topicsOf, untilAborted } from '#stream';
import type { Backend } from './backend/backend.ts';
import type { Score } from './checkpoint.ts';
import { CheckpointKeeper } from './checkpoint-keeper.ts';
import { withCleanup } from './cleanup.ts';
import type { ConsumeResult } from './consume.ts';
import { DataWait } from './data-wait.ts';
import { type EpochEvaluation, evaluateEpoch } from './epoch-evaluation.ts';
import { interrupted } from './interrupted.ts';
import { Journal } from './journal.ts';
import { endingLines, StepLines } from './lines.ts';
import { endsEpoch, train } from './loop.ts';
import type { Model } from './model/model.ts';
import { explained, NotFinite } from './not-finite.ts';
import { exchangeOf } from './ranks/exchange.ts';
import { Reporting } from './reporting.ts';
import type { Joined } from './session.ts';
import type { TrainState } from './state.ts';
import { PhaseTally } from './tally.ts';

export interface TrainingOptions extends Joined {
  /** The run's, with every `--set`. */
  readonly recipe: Recipe;
  readonly backend: Backend;
  readonly model: Model;
  /** Moved to the plan's end. */
  readonly state: TrainState;
  /** The trainer's name in RUN.progress. */
  readonly trainer: string;
}

/** How long an interrupted trainer tries to report, ms. */
const LAST_REPORT_MS = 5000;

export class Training {
  readonly #options: TrainingOptions;
  readonly #tally: PhaseTally;
  readonly #data: DataWait;
  readonly #lines: StepLines;
  readonly #keeper: CheckpointKeeper;
  #evaluation: EpochEvaluation | null = null;

  constructor(options: TrainingOptions) {
    const { meta, feed, options: asked } = options;
    this.#options = options;
    this.#tally = new PhaseTally(meta.plan, (resolution) => topicsOf(asked.run).train(resolution));
    this.#data = new DataWait(feed);
    this.#lines = new StepLines(meta.plan, this.#data, asked.onLine);
    this.#keeper = new CheckpointKeeper(options);
  }

  result(): Pick<ConsumeResult, 'firstLoss' | 'finalLoss' | 'phases' | 'evaluation' | 'data'> {
    return { ...this.#tally.result(), evaluation: this.#evaluation, data: this.#data.report() };
  }

  /** Trains with a journal and reports beside it. Fault `interrupted` where a signal ended it before the plan's end. */
  async toTheEnd(): Promise<void> {
    const { feed, meeting, meta, collective, recipe, state, options } = this.#options;
    const { plan } = meta;
    const { rank, ranks } = collective;
    const journal = rank === 0 ? await this.#openJournal() : null;
    const trained = async () => {
      await this.#keeper.open();
      await this.#report(state.step);
      const groups = recipe.groups / ranks;
      const lanes = lanesOfRank(plan, rank, ranks);
      await feed.start({ meta, fromStep: state.step, lanes, groups, prefetchBytes: options.prefetchBytes });
      const waits = {
        get waiting() {
          return feed.waiting || meeting.waiting;
        },
      };
      const reporting = new Reporting({ state, feed: waits, write: (step) => this.#report(step) });
      const train = async () => {
        await this.#train(journal, reporting.failure).catch((error) => this.#explain(error));
        if (meeting.stopped) await this.#keeper.save(journal);
        await this.#lastReport(reporting);
      };
      await withCleanup(train, async () => reporting.stop());
    };
    await withCleanup(trained, async () => journal?.close());
    for (const line of endingLines(this.#data.report(), await feed.counters())) options.onLine(line);
    if (meeting.stopped && state.step < plan.steps) throw interrupted(`at step ${state.step} of ${plan.steps}`);
  }

  async #openJournal(): Promise<Journal> {
    const { step } = this.#options.state;
    const { out, onLine } = this.#options.options;
    const journal = await Journal.open(out, step, (entry) => this.#tally.add(entry, null));
    const { lastStep } = journal;
    if (lastStep < step - 1) {
      const held = lastStep < 0 ? 'no steps' : `steps up to ${lastStep}`;
      onLine(`the journal holds ${held}, the checkpoint resumes at ${step}: those between are lost to it`);
    }
    return journal;
  }

  /** Says of a number that is not finite where the run met it. @throws */
  #explain(error: unknown): never {
    if (!(error instanceof NotFinite)) throw error;
    const { meta, recipe, options } = this.#options;
    const { run, transport, out } = options;
    const { plan } = meta;
    throw explained(error, { run, transport, out, plan, groups: recipe.groups, checkpointStep: this.#keeper.step });
  }

  #train(journal: Journal | null, failure: AbortSignal): Promise<void> {
    const { feed, meta, recipe, backend, model, state, collective, meeting, options } = this.#options;
    const { plan } = meta;
    const { onStep } = options;
    // From the end of what surrounds a step to the end of the next step: its wait and its work.
    let mark = performance.now();
    return train({
      feed,
      plan,
      recipe,
      backend,
      model,
      state,
      exchange: exchangeOf(collective, meeting, recipe.groups),
      meet: (step, batch) => this.#meet(step, batch, failure),
      onWait: (step) => this.#lines.waits(step, meeting.absent),
      onStep: async (entry) => {
        const ms = performance.now() - mark;
        this.#tally.add(entry, ms);
        this.#data.add(ms);
        await journal?.append(entry);
        killPoint('journal-appended', entry.step);
        // At an epoch's end only after the evaluation: a run killed between the two would never do it.
        if (state.step % recipe.checkpointSteps === 0 && !endsEpoch(plan, entry.step)) await this.#keeper.save(journal);
        if (collective.rank === 0) this.#lines.step(entry);
        onStep?.(entry);
        mark = performance.now();
      },
      onEpoch: async (epoch, resolution) => {
        const score = collective.rank === 0 ? await this.#evaluate(epoch, resolution) : undefined;
        killPoint('evaluation-done', epoch);
        await this.#keeper.save(journal, score);
        mark = performance.now();
      },
    });
  }

  /** The batch of `step` once all ranks have theirs. A report that failed ends the run, a rank that is to stop all ranks. */
  async #meet(step: number, batch: Promise<FeedBatch | null>, failure: AbortSignal): Promise<FeedBatch | null> {
    const { meeting, options } = this.#options;
    const ready = async () => {
      const own = await untilAborted(batch, failure);
      failure.throwIfAborted();
      return { agree: { step, ended: own === null } };
    };
    return (await meeting.meet(ready(), options.signal)) && batch;
  }

  async #evaluate(epoch: number, resolution: number): Promise<Score> {
    this.#evaluation = await evaluateEpoch(this.#options, epoch, resolution);
    const { top1, top5, loss, samples, weights } = this.#evaluation;
    const figures = `top-1 ${(100 * top1).toFixed(1)} %, loss ${loss.toFixed(4)} on ${samples} at ${resolution} px`;
    this.#options.options.onLine(`epoch ${epoch}: val ${figures}, ${weights} weights`);
    return { epoch, resolution, samples, top1, top5, loss };
  }

  /** A signal's end does not wait for a log that is gone: the checkpoint is written, producers keep what they knew. */
  async #lastReport(reporting: Reporting): Promise<void> {
    const { meeting, state, options } = this.#options;
    const { step } = state;
    const written = async () => {
      await reporting.finish();
      await this.#report(step);
      return true;
    };
    if (!meeting.stopped) await written();
    else if (!(await untilAborted(written(), AbortSignal.timeout(LAST_REPORT_MS))))
      options.onLine(`step ${step} is not reported: the log gave no answer in ${LAST_REPORT_MS / 1000} s`);
  }

  async #report(step: number): Promise<void> {
    const { feed, trainer, collective } = this.#options;
    const { rank } = collective;
    await feed.report({ trainer, rank, consumedStep: step - 1, checkpointStep: this.#keeper.step });
    killPoint('progress-reported', step);
  }
}
