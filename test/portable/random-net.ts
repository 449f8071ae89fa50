// A net that nobody trained, as a checkpoint: weights from the seed, BatchNorm's statistics from real photos.

import type { ModelRecipe } from '#stream';
import { parseRecipe } from '#stream';
import { type Backend, buildModel, createState, disposeState, downloadState, writeCheckpoint } from '#trainer';
import type { NamedTensors } from '../../trainer/backend/kernels.ts';
import { normaliseImages, Ops } from '../../trainer/backend/ops.ts';
import { Tape } from '../../trainer/backend/tape.ts';

/**
 * Writes OUT/checkpoint-STEP at step 3. Without statistics of real activations those would grow from block to block.
 * @param images U8 [n, resolution, resolution, 3]
 */
export async function writeRandomNet(
  backend: Backend,
  out: string,
  { model: modelRecipe, classes }: { readonly model: Partial<ModelRecipe>; readonly classes: number },
  { images, resolution }: { readonly images: Uint8Array; readonly resolution: number },
): Promise<string> {
  const { tf } = backend;
  const recipe = parseRecipe(
    {
      name: 'random-net',
      lanes: 1,
      mixup: false,
      phases: [{ resolution, epochs: 1, batch: 8 }],
      model: { zeroInitGamma: false, ...modelRecipe },
      optimizer: { lr: 0.1, weightDecay: 0 },
    },
    'a random net',
  );
  const model = buildModel(recipe.model, classes);
  const state = createState(backend, model, 5);
  const n = images.length / (resolution * resolution * 3);
  tf.tidy(() => {
    const batchStatistics: NamedTensors = {};
    const x = normaliseImages(backend, images, [n, resolution, resolution, 3]);
    const ops = new Ops(backend, new Tape(tf));
    model.forward({ ...state, ops, mode: 'train', batchStatistics }, x);
    for (const [name, values] of Object.entries(batchStatistics)) {
      state.statistics[name]?.dispose();
      state.statistics[name] = tf.keep(values.clone());
    }
  });
  state.step = 3;
  const host = await downloadState(state);
  disposeState(backend, state);
  return writeCheckpoint(out, {
    state: host,
    model,
    recipe,
    dataset: { sha256: '00'.repeat(32), counts: { train: 84, val: 18 } },
    planHash: '',
    trainHash: '',
    numerics: backend.numerics,
  });
}
