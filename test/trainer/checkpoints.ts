// Checkpoints of a very small model, with values that were never trained.

import { parseRecipe } from '#stream';
import { buildModel, type Checkpoint, type HostState, type Model, type Score } from '#trainer';
import { sizeOf } from '../../trainer/model/initial.ts';

const RECIPE = parseRecipe(
  {
    name: 'untrained',
    lanes: 1,
    phases: [{ resolution: 32, epochs: 1, batch: 2 }],
    model: { block: 'basic', layers: [1, 1, 1, 1], width: 1, blurpool: false },
    optimizer: { lr: 0.1, weightDecay: 0 },
  },
  'a test',
);

export function checkpointAt(step: number, score?: Score): Checkpoint {
  const model = buildModel(RECIPE.model, 2);
  return {
    state: someState(model, step),
    model,
    recipe: RECIPE,
    dataset: { sha256: '01'.repeat(32), counts: { train: 12, val: 3 } },
    planHash: 'ab'.repeat(32),
    trainHash: 'cd'.repeat(32),
    numerics: {
      backend: 'tfjs-node',
      libraryVersion: 'tfjs-node 1, TensorFlow 2',
      threads: 2,
      arch: 'x64',
      isa: 'avx2',
      engine: '11.3',
    },
    ...(score && { score }),
  };
}

/** Values that float32 holds exactly, other ones in every tensor. */
export function someState(model: Model, step: number, { average = false } = {}): HostState {
  let next = step;
  const fill = (length: number) => Float32Array.from({ length }, () => ((next++ * 37) % 1009) / 64 - 8);
  const record = (entries: readonly (readonly [string, number])[]) =>
    Object.fromEntries(entries.map(([name, length]) => [name, fill(length)]));
  const parameters = model.parameters.map(({ name, shape }) => [name, sizeOf(shape)] as const);
  const statistics = model.statistics.map(({ name, channels }) => [name, channels] as const);
  const values = () => ({ weights: record(parameters), statistics: record(statistics) });
  return { step, ...values(), slots: record(parameters), average: average ? values() : null };
}
