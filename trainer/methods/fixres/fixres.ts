// FixRes (Touvron 2019): a short last phase at the test resolution, in which only the classifier and the norm before it
// are trained, on images cropped as at test time.

import type { Model, Parameter } from '../../model/model.ts';
import { halfCosine } from '../schedule/schedule.ts';

/** What a FixRes phase trains: the last norm's gamma and beta (its running statistics move too) and fc. */
export function fixresParameters(model: Model): Parameter[] {
  return model.parameters.filter(({ name }) => name.startsWith('fc.') || name.startsWith(`${model.lastNorm}.`));
}

/** The learning rate at a share in 0 … 1 of the phase: lr · batch / lrPerBatch, cosine to 0. */
export function fixresLearningRate(
  { lr, lrPerBatch }: { readonly lr: number; readonly lrPerBatch: number },
  batch: number,
  share: number,
): number {
  return ((lr * batch) / lrPerBatch) * halfCosine(share, 1);
}
