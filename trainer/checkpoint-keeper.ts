// When all ranks save, rank 0 writes: what they hold is looked at and compared first.

import { type Recipe, type RunMeta, trainHashOf } from '#stream';
import type { Backend } from './backend/backend.ts';
import type { Score } from './checkpoint.ts';
import type { Journal } from './journal.ts';
import { KeptCheckpoints } from './kept-checkpoints.ts';
import type { Model } from './model/model.ts';
import { NotFinite } from './not-finite.ts';
import type { Collective } from './ranks/collective.ts';
import type { Meeting } from './ranks/meeting.ts';
import { stateDigest } from './ranks/shared-state.ts';
import { downloadState, type HostState, type TrainState } from './state.ts';

export interface KeeperOptions {
  readonly options: { readonly out: string; readonly keep?: number | undefined };
  readonly meta: RunMeta;
  readonly recipe: Recipe;
  readonly backend: Backend;
  readonly model: Model;
  /** Begins with what the newest checkpoint holds, or at step 0. */
  readonly state: TrainState;
  readonly collective: Collective;
  readonly meeting: Meeting;
}

/** A meeting of ranks that have come to the same step goes on, whoever is told to stop. */
const NEVER = new AbortController().signal;

export class CheckpointKeeper {
  readonly #options: KeeperOptions;
  /** Null at ranks that keep nothing. */
  #kept: KeptCheckpoints | null = null;
  #step: number;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#step = options.state.step;
  }

  /** Before the first save: rank 0 takes up what OUT holds. */
  async open(): Promise<void> {
    const { collective, options } = this.#options;
    if (collective.rank === 0) this.#kept = await KeptCheckpoints.open(options.out, options.keep);
  }

  /** The step that a resume would begin at. */
  get step(): number {
    return this.#step;
  }

  /**
   * All ranks come here at the same steps; only rank 0 has a journal, and a score where it has just evaluated. What is
   * saved is what each of them holds. NotFinite `weights-not-finite` where that could not be trained on.
   */
  async save(journal: Journal | null, score?: Score): Promise<void> {
    const { state, collective, meeting } = this.#options;
    if (this.#step === state.step) return;
    const host = await downloadState(state);
    checkFinite(host);
    if (collective.ranks > 1) {
      // Rank 0 may come from an evaluation, so the others wait with their hands free.
      const agree = async () => ({ agree: { step: state.step, state: stateDigest(host) } });
      await meeting.meet(agree(), NEVER);
    }
    // The others do not wait for rank 0 to have written it: what a resume needs is kept until rank 0 has reported it, too.
    if (journal) await this.#write(journal, host, score);
    this.#step = state.step;
  }

  async #write(journal: Journal, state: HostState, score: Score | undefined): Promise<void> {
    const { meta, recipe, backend, model } = this.#options;
    await journal.sync();
    await this.#kept?.add({
      state,
      model,
      recipe,
      dataset: meta.plan.dataset,
      planHash: meta.planHash,
      trainHash: trainHashOf(recipe),
      numerics: backend.numerics,
      ...(score && { score }),
    });
  }
}

/** An update may overflow though the gradient does not: the next step would see it, a checkpoint between them must not. */
function checkFinite({ step, weights, slots, statistics, average }: HostState): void {
  for (const tensors of [weights, slots, statistics, average?.weights ?? {}, average?.statistics ?? {}])
    for (const [name, values] of Object.entries(tensors)) {
      const value = values.find((value) => !Number.isFinite(value));
      if (value !== undefined)
        throw new NotFinite({ code: 'weights-not-finite', what: `a value of ${value} in ${name}`, step: step - 1 });
    }
}
