// Exports beside the key lists of PyTorch's own models: names, order, dtypes, shapes, counters.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decodeTensors, Fault } from '#shards';
import { type ModelRecipe, parseRecipe } from '#stream';
import { buildModel, readCheckpoint, readWeights, writeCheckpoint } from '#trainer';
import { exportCheckpoint } from '../../trainer/export.ts';
import { filterValues, modelOfShapes, stateDictOf } from '../../trainer/model/state-dict.ts';
import { temporaryFolder } from '../packed.ts';
import { fixture } from './portable-fixtures.ts';

const GOLDEN = fileURLToPath(new URL('../../../test/golden/checkpoint', import.meta.url));

const [RESNET_18, RESNET_34, RESNET_50] = (
  [
    ['basic', [2, 2, 2, 2]],
    ['basic', [3, 4, 6, 3]],
    ['bottleneck', [3, 4, 6, 3]],
  ] as const
).map(([block, layers]) => ({ block, layers: [...layers], width: 64, zeroInitGamma: false }) as const) as [
  Omit<ModelRecipe, 'blurpool'>,
  Omit<ModelRecipe, 'blurpool'>,
  Omit<ModelRecipe, 'blurpool'>,
];
const MODELS: Record<string, ModelRecipe> = {
  'antialiased_cnns.resnet50(filter_size=4)': { ...RESNET_50, blurpool: 4 },
  'antialiased_cnns.resnet18(filter_size=3)': { ...RESNET_18, blurpool: 3 },
  'torchvision.models.resnet50()': { ...RESNET_50, blurpool: false },
  'torchvision.models.resnet34()': { ...RESNET_34, blurpool: false },
};
type Keys = Record<string, Record<string, [dtype: string, shape: number[]]>>;

test('every key of the state_dict() of PyTorch, in its order, dtype and shape; and back to the model', async () => {
  const keys = JSON.parse(await readFile(fixture('keys.json'), 'utf8')) as Keys;
  assert.deepEqual(Object.keys(keys), Object.keys(MODELS));
  for (const [name, theirs] of Object.entries(keys)) {
    const recipe = MODELS[name] as ModelRecipe;
    const ours = stateDictOf(buildModel(recipe, 1000)).map(({ name: key, dtype, shape }) => [key, [dtype, shape]]);
    assert.deepEqual(ours, Object.entries(theirs), name);
    const shapes = new Map(Object.entries(theirs).map(([key, [, shape]]) => [key, shape]));
    assert.deepEqual(modelOfShapes(shapes), { recipe, classes: 1000 });
  }
});

test('ResNet-50 has 25,557,032 trainable parameters and 7 filters', async () => {
  const model = buildModel(MODELS['antialiased_cnns.resnet50(filter_size=4)'] as ModelRecipe, 1000);
  const entries = stateDictOf(model);
  const sizes = entries.map(({ holds, shape }) => (holds === 'parameter' ? shape.reduce((a, b) => a * b, 1) : 0));
  assert.equal(
    sizes.reduce((a, b) => a + b),
    25_557_032,
  );
  assert.equal(entries.filter(({ holds }) => holds === 'filter').length, 7);
});

test('a filter is the outer product of binomials over its sum, the same for each channel', () => {
  assert.deepEqual(
    [...filterValues([1, 1, 3, 3])],
    [1, 2, 1, 2, 4, 2, 1, 2, 1].map((value) => value / 16),
  );
  const two = filterValues([2, 1, 4, 4]);
  assert.deepEqual([two.length, two.subarray(0, 16)], [32, two.subarray(16)]);
});

test('a checkpoint’s export holds its weights, and counts the batches that moved each norm', async () => {
  const recipe = parseRecipe(
    {
      name: 'counted',
      lanes: 1,
      mixup: false,
      phases: [
        { resolution: 48, epochs: 2, batch: 4 },
        { resolution: 48, epochs: 2, batch: 4, fixres: {} },
      ],
      model: { layers: [1, 1, 1, 1], width: 1, blurpool: 3 },
      optimizer: { lr: 0.1, weightDecay: 0 },
      sam: { rho: 0.05, interval: 2, bnSecondPass: true },
    },
    'a recipe',
  );
  const golden = await readCheckpoint(GOLDEN);
  // 3 steps an epoch: 6 plain, every second one with a second pass that moves the norms, then 6 of FixRes.
  const dataset = { sha256: '01'.repeat(32), counts: { train: 12, val: 3 } };
  const model = buildModel(recipe.model, golden.model.classes);
  for (const [step, all, last] of [
    [0, 0, 0],
    [3, 4, 4],
    [6, 9, 9],
    [8, 9, 11],
  ] as const) {
    const out = temporaryFolder();
    const state = { ...golden.state, step };
    const folder = await writeCheckpoint(out, { ...golden, model, recipe, dataset, state });
    const file = join(out, 'exports', 'weights.safetensors');
    const result = await exportCheckpoint({ checkpoint: out, out: file, weights: undefined, force: false });
    assert.deepEqual([result.checkpoint, result.step, result.weights], [folder, step, 'trained']);
    const { tensors, metadata } = decodeTensors(await readFile(file));
    assert.deepEqual({ ...metadata }, { format: 'pt', step: String(step), weights: 'trained' });
    const count = (norm: string) =>
      Buffer.from(tensors.get(`${norm}.num_batches_tracked`)?.data ?? []).readBigInt64LE(0);
    assert.deepEqual([count('bn1'), count('layer4.0.bn3')], [BigInt(all), BigInt(last)], `step ${step}`);
    const saved = decodeTensors(await readFile(join(folder, 'weights.safetensors'))).tensors;
    for (const { name, data } of saved.values())
      assert.ok(Buffer.from(tensors.get(name)?.data ?? []).equals(Buffer.from(data)), name);
  }
});

test('a file that is there is replaced only by --force, and an average that is not there is refused', async () => {
  const out = join(temporaryFolder(), 'weights.safetensors');
  await writeFile(out, 'mine');
  const options = { checkpoint: GOLDEN, out, weights: undefined };
  const fault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;
  await assert.rejects(exportCheckpoint({ ...options, force: false }), fault('out-exists'));
  assert.equal(await readFile(out, 'utf8'), 'mine');
  await exportCheckpoint({ ...options, force: true });
  assert.equal(decodeTensors(await readFile(out)).metadata['format'], 'pt');
  await assert.rejects(exportCheckpoint({ ...options, weights: 'average', force: true }), fault('no-average'));
  assert.equal((await readWeights(GOLDEN, 'trained')).choice, 'trained');
});
