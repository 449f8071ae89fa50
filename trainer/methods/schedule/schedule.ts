// How the learning rate rises and falls: factors of its height, pure functions of the epoch.

import type { OptimizerRecipe } from '#stream';

/** In epochs, fractions allowed. */
interface Span {
  readonly warmupEpochs: number;
  /** All ordinary phases together, the warm-up included. */
  readonly epochs: number;
}

/** Linear from 0 over the warm-up (Goyal 2017, §2.2), then 1. */
export function warmUp(epoch: number, warmupEpochs: number): number {
  return epoch < warmupEpochs ? epoch / warmupEpochs : 1;
}

/** Half a cosine (Loshchilov 2016, without restarts): 1 where nothing of `whole` is done, 0 where all is. */
export function halfCosine(done: number, whole: number): number {
  return 0.5 * (1 + Math.cos((Math.PI * done) / whole));
}

/** An epoch is a share of a phase times its length, and may lie below a whole number by rounding; less than any step. */
const ROUNDING = 1e-9;

/** `factor` to the power of the milestones reached; one is reached at its very epoch, as in PyTorch's MultiStepLR. */
export function milestoneFactor(epoch: number, milestones: readonly number[], factor: number): number {
  return factor ** milestones.filter((milestone) => milestone <= epoch + ROUNDING).length;
}

/** The factor in 0 … 1 at an epoch of the ordinary phases. */
export function scheduleFactor(
  schedule: OptimizerRecipe['schedule'],
  epoch: number,
  { warmupEpochs, epochs }: Span,
): number {
  if (epoch < warmupEpochs) return warmUp(epoch, warmupEpochs);
  if (typeof schedule === 'object') return milestoneFactor(epoch, schedule.milestones, schedule.factor);
  // A warm-up may fill the run: at its end the rate is at its height.
  const [done, whole] = [epoch - warmupEpochs, Math.max(epochs - warmupEpochs, Number.MIN_VALUE)];
  return schedule === 'linear' ? 1 - done / whole : halfCosine(done, whole);
}
