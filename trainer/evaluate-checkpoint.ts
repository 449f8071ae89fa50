// `trainer evaluate`: a checkpoint's scores on a split of packed shards, no stream needed.

import type { Split } from '#shards';
import { evaluationSamples } from '#stream';
import { checkBackendName, loadBackend } from './backend/backend.ts';
import { latestCheckpoint, readCheckpoint } from './checkpoint.ts';
import { type EvaluationResult, evaluate } from './evaluate.ts';
import { evaluated } from './methods/ema/ema.ts';
import { disposeState, uploadState } from './state.ts';

export interface EvaluateOptions {
  /** A folder checkpoint-STEP, or a trainer's OUT, whose newest is taken. */
  readonly checkpoint: string;
  readonly shards: string;
  readonly split: Split;
  /** Which bucket; default the last phase's. */
  readonly resolution: number | undefined;
  readonly backend: string;
}

export interface EvaluateResult extends EvaluationResult {
  readonly checkpoint: string;
  readonly step: number;
  readonly split: Split;
  readonly resolution: number;
  readonly cropRatio: number;
  /** The moving average where the checkpoint holds one. */
  readonly weights: 'average' | 'live';
  readonly backend: string;
}

export async function evaluateCheckpoint(options: EvaluateOptions): Promise<EvaluateResult> {
  checkBackendName(options.backend);
  const folder = (await latestCheckpoint(options.checkpoint)) ?? options.checkpoint;
  const { state: host, model, recipe } = await readCheckpoint(folder);
  const { cropRatio } = recipe.evaluation;
  const { split, shards } = options;
  const resolution = options.resolution ?? recipe.phases.at(-1)?.resolution ?? 0;
  const backend = await loadBackend(options.backend);
  const state = uploadState(backend, model, host);
  async function* batches() {
    for await (const { images, labelA } of evaluationSamples({ shards, split, resolution, cropRatio }))
      yield { images, labels: labelA, resolution };
  }
  const { values, weights } = evaluated(state);
  const scores = await evaluate(backend, model, values, batches());
  disposeState(backend, state);
  return {
    checkpoint: folder,
    step: host.step,
    split,
    resolution,
    cropRatio,
    weights,
    backend: backend.name,
    ...scores,
  };
}
