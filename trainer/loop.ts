// The training loop: batch after batch in the plan's order; what surrounds a step (journal, evaluation, checkpoints) hooks in.

import { type Feed, type FeedBatch, type Plan, placeOf, type Recipe, untilAborted } from '#stream';
import type { Backend } from './backend/backend.ts';
import type { JournalEntry } from './journal.ts';
import { phaseShare } from './methods/progressive-resizing/progressive-resizing.ts';
import type { Model } from './model/model.ts';
import { learningRate } from './schedule.ts';
import { freshMomentum, type TrainState } from './state.ts';
import { stepOptions, trainStep } from './step.ts';

export interface Loop {
  readonly feed: Pick<Feed, 'next' | 'waitMs'>;
  readonly plan: Plan;
  readonly recipe: Recipe;
  readonly backend: Backend;
  readonly model: Model;
  /** Moved from step to step. */
  readonly state: TrainState;
  readonly signal: AbortSignal;
  /** After each step, with the state already moved. */
  readonly onStep: (entry: JournalEntry) => Promise<void>;
  /** After the last step of each epoch, after `onStep`. */
  readonly onEpoch: (epoch: number, resolution: number) => Promise<void>;
}

/** Trains from `state.step` to the plan's end, or until aborted. */
export async function train(loop: Loop): Promise<void> {
  const { feed, plan, signal, onStep, onEpoch } = loop;
  let waited = feed.waitMs;
  while (!signal.aborted) {
    const batch = await untilAborted(feed.next(), signal);
    if (!batch) return;
    const waitMs = feed.waitMs - waited;
    waited = feed.waitMs;
    await onStep(oneStep(loop, batch, waitMs));
    const { phase, epoch, stepInEpoch } = placeOf(plan, batch.step);
    if (stepInEpoch === phase.stepsPerEpoch - 1) await onEpoch(epoch, phase.resolution);
  }
}

function oneStep(
  { plan, recipe, backend, model, state }: Loop,
  { step, groups }: FeedBatch,
  waitMs: number,
): JournalEntry {
  if (step !== state.step) throw new Error(`the feed brought step ${step}, the weights stand at ${state.step}`);
  const place = placeOf(plan, step);
  const { phase, epoch } = place;
  const options = stepOptions(recipe, phase.index, learningRate(recipe, phase.index, phaseShare(place)));
  if (options.fixres && step === phase.firstStep) freshMomentum(backend, state);
  const { resolution } = phase;
  const { loss } = trainStep(
    backend,
    model,
    state,
    groups.map(({ images, ...labels }) => ({ ...labels, images: [images], resolution })),
    options,
  );
  return {
    step,
    epoch,
    phase: phase.index,
    resolution,
    loss,
    lr: options.learningRate,
    samples: phase.batch,
    waitMs: Math.round(waitMs * 10) / 10,
  };
}
