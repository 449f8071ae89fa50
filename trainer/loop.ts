// The training loop: batch after batch in the plan's order; what surrounds a step (journal, evaluation, checkpoints) hooks in.

import { killPoint } from '#shards';
import { type Feed, type FeedBatch, type Plan, placeOf, type Recipe } from '#stream';
import type { Backend } from './backend/backend.ts';
import type { JournalEntry } from './journal.ts';
import { restartAverage } from './methods/ema/ema.ts';
import { phaseShare } from './methods/progressive-resizing/progressive-resizing.ts';
import type { Model } from './model/model.ts';
import type { Exchange } from './ranks/exchange.ts';
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
  readonly exchange: Exchange;
  /** Waits until every rank has the batch of `step`; null at the plan's end, and where a rank is to stop. */
  readonly meet: (step: number, batch: Promise<FeedBatch | null>) => Promise<FeedBatch | null>;
  /** After 10 s without the batch of `step`, and every minute from then on. */
  readonly onWait: (step: number) => void;
  /** After each step, with the state already moved. */
  readonly onStep: (entry: JournalEntry) => Promise<void>;
  /** After the last step of each epoch, after `onStep`. */
  readonly onEpoch: (epoch: number, resolution: number) => Promise<void>;
}

/** How long a wait for data goes on before it is told, and until it is told again, ms. */
const WAIT_MS = { first: 10_000, next: 60_000 };

/** Whether `step` is the last of its epoch. */
export function endsEpoch(plan: Plan, step: number): boolean {
  const { phase, stepInEpoch } = placeOf(plan, step);
  return stepInEpoch === phase.stepsPerEpoch - 1;
}

/** Trains from `state.step` to the plan's end, or until `meet` gives no batch. */
export async function train(loop: Loop): Promise<void> {
  const { feed, plan, state, meet, onWait, onStep, onEpoch } = loop;
  let waited = feed.waitMs;
  for (;;) {
    const batch = await telling(() => onWait(state.step), meet(state.step, feed.next()));
    if (!batch) return;
    const waitMs = feed.waitMs - waited;
    waited = feed.waitMs;
    await onStep(oneStep(loop, batch, waitMs));
    const { phase, epoch } = placeOf(plan, batch.step);
    if (endsEpoch(plan, batch.step)) await onEpoch(epoch, phase.resolution);
  }
}

/** The promise's value; calls `tell` while it is long in coming. */
async function telling<Value>(tell: () => void, promise: Promise<Value>): Promise<Value> {
  const again = () => {
    tell();
    timer = setTimeout(again, WAIT_MS.next);
  };
  let timer = setTimeout(again, WAIT_MS.first);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

function oneStep(
  { plan, recipe, backend, model, state, exchange }: Loop,
  { step, groups }: FeedBatch,
  waitMs: number,
): JournalEntry {
  if (step !== state.step) throw new Error(`the feed brought step ${step}, the weights stand at ${state.step}`);
  const place = placeOf(plan, step);
  const { phase, epoch } = place;
  if (step === phase.firstStep && phase.index > 0) killPoint('phase-switch', step);
  const options = stepOptions(recipe, phase.index, learningRate(recipe, phase.index, phaseShare(place)));
  if (options.fixres && step === phase.firstStep) {
    freshMomentum(backend, state);
    if (state.average) restartAverage(backend, state.average, state);
    killPoint('fixres-start', step);
  }
  const { resolution } = phase;
  const { loss, unclippedNorm } = trainStep(
    backend,
    model,
    state,
    groups.map(({ images, ...labels }) => ({ ...labels, images: [images], resolution })),
    options,
    exchange,
  );
  killPoint('step-updated', step);
  return {
    step,
    epoch,
    phase: phase.index,
    resolution,
    loss,
    lr: options.learningRate,
    samples: phase.batch,
    waitMs: Math.round(waitMs * 10) / 10,
    ...(unclippedNorm !== undefined && { unclippedNorm }),
  };
}
