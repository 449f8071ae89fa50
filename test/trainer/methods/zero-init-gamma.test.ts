import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildModel, createState, disposeState, groupGradients, uploadBatch } from '#trainer';
import { firstLastGamma } from '../../../trainer/methods/zero-init-gamma/zero-init-gamma.ts';
import { anyBackend } from '../backends.ts';
import { noiseBatch, valuesOf } from '../training.ts';

test('the last gamma starts at 0 or at 1', () => {
  assert.deepEqual([firstLastGamma(true), firstLastGamma(false)], [0, 1]);
});

test('a block starts as its shortcut: nothing inside it gets a gradient, but its last norm does', async () => {
  const backend = await anyBackend();
  for (const block of ['bottleneck', 'basic'] as const) {
    const last = block === 'bottleneck' ? 'bn3' : 'bn2';
    for (const zeroInitGamma of [true, false]) {
      const model = buildModel({ block, layers: [1, 2, 1, 1], width: 4, blurpool: 3, zeroInitGamma }, 3);
      const state = createState(backend, model, 1);
      const gradients = backend.tf.tidy(() => {
        const batch = uploadBatch(backend, noiseBatch(0), 3, 0.1);
        return valuesOf(groupGradients(backend, model, batch, state, model.parameters, 'train').gradients);
      });
      disposeState(backend, state);
      const idle = Object.keys(gradients).filter((name) => gradients[name]?.every((value) => value === 0));
      const inside = model.parameters
        .map(({ name }) => name)
        .filter((name) => name.startsWith('layer') && !name.includes('downsample') && !name.includes(`.${last}.`));
      assert.deepEqual(idle.toSorted(), zeroInitGamma ? inside.toSorted() : [], `${block}, ${zeroInitGamma}`);
    }
  }
});
