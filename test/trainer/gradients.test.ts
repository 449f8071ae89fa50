// The whole net's gradient beside finite differences of its loss, parameter by parameter, in training and in FixRes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildModel, createState, disposeState, groupGradients, uploadBatch } from '#trainer';
import { type NamedTensors, named } from '../../trainer/backend/kernels.ts';
import { fixresParameters } from '../../trainer/methods/fixres/fixres.ts';
import type { Parameter } from '../../trainer/model/model.ts';
import { anyBackend } from './backends.ts';
import { noiseBatch, valuesOf } from './training.ts';

/** Small, as the loss has a kink wherever a relu or a max-pool changes its mind; its rounding is then 0.1 % of a change. */
const STEP = 2 ** -12;

test('along each parameter’s gradient the loss changes by its length', async () => {
  const backend = await anyBackend();
  const { tf } = backend;
  for (const [block, mode] of [
    ['basic', 'train'],
    ['bottleneck', 'fixres'],
  ] as const) {
    const model = buildModel({ block, layers: [1, 1, 1, 1], width: 4, blurpool: 4, zeroInitGamma: false }, 3);
    const trained = mode === 'train' ? model.parameters : fixresParameters(model);
    const state = createState(backend, model, 3);
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const batch = uploadBatch(backend, noiseBatch(0), 3, 0.1);
      const at = (weights: NamedTensors, parameters: readonly Parameter[]) =>
        groupGradients(backend, model, batch, { weights, statistics: state.statistics }, parameters, mode);
      const { gradients } = at(state.weights, trained);
      for (const [name, values] of Object.entries(valuesOf(gradients))) {
        const length = Math.hypot(...values);
        const lossAt = (by: number) =>
          tf.tidy(() => {
            const moved = tf.add(named(state.weights, name), tf.mul(named(gradients, name), by / length));
            return at({ ...state.weights, [name]: moved }, []).loss.dataSync()[0] as number;
          });
        const slope = (lossAt(STEP) - lossAt(-STEP)) / (2 * STEP);
        assert.ok(Math.abs(slope / length - 1) < 0.01, `${block} ${mode} ${name}: ${slope}, not ${length}`);
      }
    });
    assert.equal(tf.memory().numTensors, before);
    disposeState(backend, state);
  }
});
