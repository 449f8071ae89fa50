// A run that was joined, from start to result: checkpoint, backend and weights, the same at all ranks; then the training.

import { checkStepBound, type Feed, type Recipe, type RunMeta, trainPartOf } from '#stream';
import { type Backend, loadBackend } from './backend/backend.ts';
import { readSums, SUMS } from './checksums.ts';
import { withCleanup } from './cleanup.ts';
import type { ConsumeOptions, ConsumeResult } from './consume.ts';
import { initialState } from './init.ts';
import { interrupted } from './interrupted.ts';
import { buildModel } from './model/resnet.ts';
import type { Collective } from './ranks/collective.ts';
import { checkGroups } from './ranks/exchange.ts';
import type { Meeting } from './ranks/meeting.ts';
import { broadcastState } from './ranks/shared-state.ts';
import { trainerId } from './reporting.ts';
import { checkpointOf, otherNumerics } from './resume.ts';
import { settingsOutsidePlan } from './settings.ts';
import { createState, disposeState, type TrainState, uploadState } from './state.ts';
import { Training } from './training.ts';

/** What a trainer has once it has joined a run. */
export interface Joined {
  readonly options: ConsumeOptions;
  readonly feed: Feed;
  readonly meta: RunMeta;
  readonly collective: Collective;
  readonly meeting: Meeting;
}

export class Session {
  readonly #joined: Joined;
  readonly #recipe: Recipe;

  constructor(joined: Joined) {
    this.#joined = joined;
    this.#recipe = settingsOutsidePlan(joined.meta, joined.options.settings);
  }

  /** `folder`: the checkpoint to resume from; null for a start at step 0. */
  async run(folder: string | null): Promise<ConsumeResult> {
    const { options, feed, meta, collective } = this.#joined;
    const { run, onLine, prefetchBytes, backend: name } = options;
    const { plan, dataset } = meta;
    const { rank, ranks } = collective;
    const began = performance.now();
    checkStepBound(plan, prefetchBytes, '--prefetch');
    checkGroups(this.#recipe, ranks);
    const checkpoint = folder && (await checkpointOf(folder, meta, this.#recipe));
    if (folder && (await readSums(folder)) === null)
      onLine(`${folder} has no ${SUMS}, as older ones: whether its state.json is whole is not known`);
    const backend = await loadBackend(name);
    if (backend.note) onLine(backend.note);
    const other = checkpoint && otherNumerics(backend.numerics, checkpoint.numerics, options);
    if (other) onLine(other);
    const model = buildModel(this.#recipe.model, dataset.classes.length);
    const average = this.#recipe.ema !== false;
    const start = { ...options, resumes: Boolean(checkpoint), average };
    const initial = rank === 0 ? await initialState(start, model, this.#recipe.seed) : null;
    const host = checkpoint ? checkpoint.state : initial;
    const state = host
      ? uploadState(backend, model, host)
      : createState(backend, model, this.#recipe.seed, { average });
    if (initial) onLine(`step 0 from the weights of ${options.init}`);
    const trainer = await this.#share(backend, state);
    onLine(`${backend.name}, ${backend.numerics.threads} threads; step ${state.step} of ${plan.steps}`);
    const training = new Training({ ...this.#joined, recipe: this.#recipe, backend, model, state, trainer });
    await withCleanup(
      () => training.toTheEnd(),
      async () => disposeState(backend, state),
    );
    return {
      run,
      rank,
      ranks,
      backend: backend.name,
      steps: plan.steps,
      seconds: (performance.now() - began) / 1000,
      ...training.result(),
      counters: await feed.counters(),
    };
  }

  /** Brings rank 0's state to all ranks, if they agree on what they train. Returns the trainer's name, which is rank 0's too. */
  async #share(backend: Backend, state: TrainState): Promise<string> {
    const { options, feed, collective, meeting } = this.#joined;
    const { out, signal } = options;
    const { rank, ranks } = collective;
    const { checkpointSteps } = this.#recipe;
    const start = async () => {
      const trainer = rank === 0 ? await trainerId(out) : '';
      if (rank === 0) await feed.forgetRanks({ trainer, ranks });
      const { numerics } = backend;
      const agree = { recipe: trainPartOf(this.#recipe), checkpointSteps, numerics };
      return { agree, tell: { trainer, step: state.step } };
    };
    const words = await meeting.meet(start(), signal);
    if (!words) throw interrupted('before the first step');
    const { trainer, step } = words[0]?.tell ?? {};
    if (ranks > 1) broadcastState(collective, backend, state, Number(step));
    return String(trainer);
  }
}
