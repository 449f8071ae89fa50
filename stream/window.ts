// The window: how far producers may run ahead of the trainers, and what may be deleted. Pure functions of the plan.

import { imageBytes, type Phase, type Plan } from './plan.ts';
import type { TrainerProgress } from './progress.ts';

/** Pixel bytes of the steps [from, to), by the plan. */
export function bytesOfSteps(plan: Plan, from: number, to: number): number {
  let bytes = 0;
  for (const { firstStep, epochs, stepsPerEpoch, batch, resolution } of plan.phases) {
    const begin = Math.max(from, firstStep);
    const end = Math.min(to, firstStep + epochs * stepsPerEpoch);
    if (end > begin) bytes += (end - begin) * batch * imageBytes(resolution);
  }
  return bytes;
}

export interface Floor {
  /** The first step that some trainer still wants; 0 with no trainer. */
  readonly wanted: number;
  /** The lowest step that a trainer would resume at; 0 with no trainer. */
  readonly checkpoint: number;
  /** Who holds `wanted` back, for messages. */
  readonly slowest: string | null;
}

export function floorOf(trainers: readonly TrainerProgress[]): Floor {
  const slowest = trainers.reduce<TrainerProgress | null>(
    (low, trainer) => (low && low.consumedStep <= trainer.consumedStep ? low : trainer),
    null,
  );
  return {
    wanted: slowest ? slowest.consumedStep + 1 : 0,
    checkpoint: trainers.reduce((low, { checkpointStep }) => Math.min(low, checkpointStep), slowest ? Infinity : 0),
    slowest: slowest && `${slowest.trainer}/${slowest.rank}`,
  };
}

/** Whether a step may be produced: its lead over the slowest trainer fits the window; the next one always may. */
export function admits(plan: Plan, floor: Floor, step: number, windowBytes: number): boolean {
  return step <= floor.wanted || bytesOfSteps(plan, floor.wanted, step + 1) <= windowBytes;
}

/** The lowest step from which on everything up to `head` fits so many bytes. */
function fitting(plan: Plan, head: number, bytes: number): number {
  let low = 0;
  let high = head;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (bytesOfSteps(plan, middle, head) <= bytes) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * The lowest step that the log still has to hold when `head` is the next to be produced. A window of the past is kept
 * at least; then goes what lies below the lowest checkpoint; beyond two windows also what a trainer has consumed since
 * its checkpoint, so that a resume from there must regenerate. What a trainer has yet to consume never goes.
 */
export function keepFrom(plan: Plan, floor: Floor, head: number, windowBytes: number): number {
  const unneeded = Math.min(fitting(plan, head, windowBytes), floor.checkpoint);
  const forced = Math.min(fitting(plan, head, 2 * windowBytes), floor.wanted);
  return Math.min(head, Math.max(unneeded, forced));
}

/** The first phase whose steps between two checkpoints exceed the history that the log is sure to keep. */
export function unretainedPhase(plan: Plan, checkpointSteps: number, windowBytes: number): Phase | undefined {
  return plan.phases.find(({ firstStep, stepsPerEpoch }) => {
    const steps = Math.min(checkpointSteps, stepsPerEpoch);
    return bytesOfSteps(plan, firstStep, firstStep + steps) > windowBytes;
  });
}
