import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRecipe } from '#stream';
import { buildModel, stepOptions } from '#trainer';
import { fixresLearningRate, fixresParameters } from '../../../trainer/methods/fixres/fixres.ts';

test('in ResNet-50 FixRes trains layer4.2.bn3 and fc', () => {
  const model = buildModel(
    { block: 'bottleneck', layers: [3, 4, 6, 3], width: 64, blurpool: 4, zeroInitGamma: true },
    1000,
  );
  assert.deepEqual(
    fixresParameters(model).map(({ name }) => name),
    ['layer4.2.bn3.weight', 'layer4.2.bn3.bias', 'fc.weight', 'fc.bias'],
  );
});

test('its rate scales with the batch and falls along a cosine to 0', () => {
  const rates = [0, 0.5, 1].map((share) => fixresLearningRate({ lr: 1e-3, lrPerBatch: 512 }, 2048, share));
  for (const [i, expected] of [4e-3, 2e-3, 0].entries())
    assert.ok(Math.abs((rates[i] as number) - expected) < 1e-15, `${rates[i]}`);
});

test('its phase trains without SAM, whatever the recipe says for the others', () => {
  const recipe = parseRecipe(
    {
      name: 'r',
      lanes: 1,
      phases: [
        { resolution: 32, epochs: 1, batch: 4 },
        { resolution: 32, epochs: 1, batch: 4, fixres: {} },
      ],
      optimizer: { lr: 0.1, weightDecay: 0 },
      sam: { rho: 0.1 },
      clip: { norm: 2 },
    },
    'a test',
  );
  const [ordinary, fixres] = [stepOptions(recipe, 0, 0.1), stepOptions(recipe, 1, 0.1)];
  assert.deepEqual([ordinary.fixres, ordinary.sam], [false, recipe.sam]);
  assert.deepEqual([fixres.fixres, fixres.sam, fixres.clip], [true, false, { norm: 2 }]);
});
