// When all ranks save, rank 0 writes: what they hold is compared first.

import { type Recipe, type RunMeta, trainHashOf } from '#stream';
import type { Backend } from './backend/backend.ts';
import { writeCheckpoint } from './checkpoint.ts';
import type { Journal } from './journal.ts';
import type { Model } from './model/model.ts';
import type { Collective } from './ranks/collective.ts';
import type { Meeting } from './ranks/meeting.ts';
import { stateDigest } from './ranks/shared-state.ts';
import { downloadState, type HostState, type TrainState } from './state.ts';

export interface KeeperOptions {
  readonly options: { readonly out: string };
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
  #step: number;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#step = options.state.step;
  }

  /** The step that a resume would begin at. */
  get step(): number {
    return this.#step;
  }

  /** All ranks come here at the same steps; only rank 0 has a journal. What is saved is what each of them holds. */
  async save(journal: Journal | null): Promise<void> {
    const { state, collective, meeting } = this.#options;
    if (this.#step === state.step) return;
    const host = await downloadState(state);
    if (collective.ranks > 1) {
      // Rank 0 may come from an evaluation, so the others wait with their hands free.
      const agree = async () => ({ agree: { step: state.step, state: stateDigest(host) } });
      await meeting.meet(agree(), NEVER);
    }
    // The others do not wait for rank 0 to have written it: what a resume needs is kept until rank 0 has reported it, too.
    if (journal) await this.#write(journal, host);
    this.#step = state.step;
  }

  async #write(journal: Journal, state: HostState): Promise<void> {
    const { options, meta, recipe, backend, model } = this.#options;
    await journal.sync();
    await writeCheckpoint(options.out, {
      state,
      model,
      recipe,
      dataset: meta.plan.dataset,
      planHash: meta.planHash,
      trainHash: trainHashOf(recipe),
      numerics: backend.numerics,
    });
  }
}
