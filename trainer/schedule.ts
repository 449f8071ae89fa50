// The learning rate at a point of the run: a pure function of the recipe and the epoch, so a resumed run needs no state.

import type { OptimizerRecipe, PhaseRecipe } from '#stream';
import { fixresLearningRate } from './methods/fixres/fixres.ts';
import { scheduleFactor } from './methods/schedule/schedule.ts';

export interface ScheduleRecipe {
  readonly phases: readonly Pick<PhaseRecipe, 'epochs' | 'batch' | 'fixres'>[];
  readonly optimizer: Pick<OptimizerRecipe, 'lr' | 'lrPerBatch' | 'warmupEpochs' | 'schedule'>;
}

/**
 * The rate of a step in phase `index` that lies `share` (0 … 1) through this phase: step in the phase over its steps.
 *
 * Ordinary phases: lr · batch / lrPerBatch (Goyal 2017, §2.1) times the schedule's factor over all of them together; the
 * batch is the phase's, so the rate jumps with it. FixRes phases: a cosine of their own.
 *
 * `Math.cos` may differ in its last bit between builds of Node; a recipe's stream does not depend on it.
 */
export function learningRate({ phases, optimizer }: ScheduleRecipe, index: number, share: number): number {
  const phase = phases[index];
  if (!phase) throw new RangeError(`phase ${index} of ${phases.length}`);
  if (phase.fixres) return fixresLearningRate(phase.fixres, phase.batch, share);
  const epochsOf = (some: ScheduleRecipe['phases']) =>
    some.reduce((sum, { epochs, fixres }) => sum + (fixres ? 0 : epochs), 0);
  const epoch = epochsOf(phases.slice(0, index)) + share * phase.epochs;
  const { lr, lrPerBatch, warmupEpochs, schedule } = optimizer;
  const factor = scheduleFactor(schedule, epoch, { warmupEpochs, epochs: epochsOf(phases) });
  return ((lr * phase.batch) / lrPerBatch) * factor;
}
