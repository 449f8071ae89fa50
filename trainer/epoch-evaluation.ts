// The evaluation after an epoch: the run's own val split, at the resolution that the epoch trained at.

import { Fault, killPoint } from '#shards';
import type { Feed } from '#stream';
import type { Backend } from './backend/backend.ts';
import { type EvaluationResult, evaluate } from './evaluate.ts';
import { evaluated, type WeightsChoice } from './methods/ema/ema.ts';
import type { Model } from './model/model.ts';
import { NotFinite } from './not-finite.ts';
import type { TrainState } from './state.ts';

export interface EpochEvaluationOptions {
  readonly feed: Pick<Feed, 'evaluation'>;
  readonly backend: Backend;
  readonly model: Model;
  readonly state: TrainState;
}

/** A result, and of which weights: the moving average where the recipe has one. */
export type EpochEvaluation = EvaluationResult & { readonly weights: WeightsChoice };

/** @throws NotFinite `logits-not-finite`: the last step's update overflowed. */
export async function evaluateEpoch(
  { feed, backend, model, state }: EpochEvaluationOptions,
  epoch: number,
  resolution: number,
): Promise<EpochEvaluation> {
  async function* batches() {
    for await (const { images, labelA } of feed.evaluation(resolution)) {
      killPoint('evaluation', epoch);
      yield { images, labels: labelA, resolution };
    }
  }
  const { values, weights } = evaluated(state);
  try {
    return { ...(await evaluate(backend, model, values, batches())), weights };
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'logits-not-finite') throw error;
    throw new NotFinite({
      code: error.code,
      what: `an evaluation's ${error.received}`,
      step: state.step - 1,
      cause: error,
    });
  }
}
