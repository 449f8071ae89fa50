// The window: how far producers may run ahead of the trainers, and what may be deleted. Pure functions of the plan.

import { imageBytes, type Plan } from './plan.ts';
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

/**
 * The lowest step that a log may still have to hold when `head` is the next to be produced: as many steps as fit the
 * window are kept, and never one deleted that a trainer has yet to consume. Above `floor.checkpoint` the window forces
 * it: a resume from that checkpoint must regenerate.
 */
export function keepFrom(plan: Plan, floor: Floor, head: number, windowBytes: number): number {
  let low = 0;
  let high = Math.min(head, floor.wanted);
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (bytesOfSteps(plan, middle, head) <= windowBytes) high = middle;
    else low = middle + 1;
  }
  return low;
}
