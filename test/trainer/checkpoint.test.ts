// Checkpoints: golden bytes (the format is final), round trips to the bit, damage.

import assert from 'node:assert/strict';
import { appendFile, cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decodeTensors, Fault, valuesOf as rawValuesOf } from '#shards';
import { parseRecipe, type Recipe } from '#stream';
import {
  buildModel,
  type Checkpoint,
  createState,
  disposeState,
  downloadState,
  latestCheckpoint,
  readCheckpoint,
  type TrainState,
  trainStep,
  uploadState,
  writeCheckpoint,
} from '#trainer';
import { emaDecay } from '../../trainer/methods/ema/ema.ts';
import { anyBackend } from './backends.ts';
import { checkpointAt, someState } from './checkpoints.ts';
import { noiseBatch, smallModel, WITH_SAM } from './training.ts';

const FILES = ['SHA256SUMS', 'optimizer.safetensors', 'state.json', 'weights.safetensors'];
const goldenFile = (name: string) => new URL(`../../../test/golden/checkpoint/${name}`, import.meta.url);
const golden = (name: string) => readFile(goldenFile(name));

const SCORE = { epoch: 0, resolution: 32, samples: 3, top1: 1 / 3, top5: 1, loss: 0.7 };

/** The golden recipe, as it was when the bytes were made: keys that recipes get later do not change it. */
const RECIPE = JSON.parse(String(await golden('state.json'))).recipe as Recipe;

function someCheckpoint(step: number, recipe = RECIPE): Checkpoint {
  const model = buildModel(recipe.model, 2);
  const state = someState(model, step, { average: Boolean(recipe.ema) });
  return { ...checkpointAt(step), state, model, recipe };
}

async function inFolder(body: (out: string) => Promise<void>): Promise<void> {
  const out = await mkdtemp(join(tmpdir(), 'checkpoint-test-'));
  try {
    await body(out);
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

test('the bytes of a checkpoint are the golden ones', async () => {
  await inFolder(async (out) => {
    const folder = await writeCheckpoint(out, someCheckpoint(123));
    assert.equal(folder, join(out, 'checkpoint-00000123'));
    assert.deepEqual((await readdir(folder)).sort(), FILES);
    for (const name of FILES) assert.ok((await readFile(join(folder, name))).equals(await golden(name)), name);
  });
});

test('the golden checkpoint can be read', async () => {
  const { state } = await readCheckpoint(fileURLToPath(new URL('.', goldenFile('state.json'))));
  assert.deepEqual(state, someCheckpoint(123).state);
});

test('weights lie in PyTorch’s order, names and layouts', async () => {
  const { tensors } = decodeTensors(await golden('weights.safetensors'));
  const names = [...tensors.keys()];
  assert.deepEqual(names.slice(0, 6), [
    'conv1.weight',
    'bn1.weight',
    'bn1.bias',
    'bn1.running_mean',
    'bn1.running_var',
    'layer1.0.conv1.weight',
  ]);
  assert.deepEqual(names.slice(-2), ['fc.weight', 'fc.bias']);
  const conv = tensors.get('conv1.weight');
  const fc = tensors.get('fc.weight');
  assert.ok(conv && fc);
  assert.deepEqual(
    [conv.shape, fc.shape],
    [
      [1, 3, 7, 7],
      [2, 32],
    ],
  );
  const { state } = someCheckpoint(123);
  // HWIO [row 2, column 5, blue] is OIHW [0, blue, 2, 5].
  assert.equal(rawValuesOf(conv, 'F32')[(2 * 7 + 2) * 7 + 5], state.weights['conv1.weight']?.[(2 * 7 + 5) * 3 + 2]);
  assert.equal(rawValuesOf(fc, 'F32')[1 * 32 + 7], state.weights['fc.weight']?.[7 * 2 + 1]);
});

test('what is written is read back to the bit, with the model it belongs to', async () => {
  await inFolder(async (out) => {
    const written = someCheckpoint(7, parseRecipe(RECIPE, 'the golden recipe'));
    const read = await readCheckpoint(await writeCheckpoint(out, written));
    const { model, ...rest } = read;
    const { model: writtenModel, ...writtenRest } = written;
    assert.deepEqual(rest, writtenRest);
    assert.deepEqual(model.parameters, writtenModel.parameters);
    assert.deepEqual(model.recipe, writtenModel.recipe);
  });
});

test('a training resumed from a checkpoint goes on to the same bits, with an average and without', async () => {
  const backend = await anyBackend();
  const model = smallModel();
  for (const ema of [false, { halfLifeImages: 6 }] as const) {
    const options = ema ? { ...WITH_SAM, emaDecay: emaDecay(ema, 4) } : WITH_SAM;
    const steps = (state: TrainState, from: number, to: number) => {
      for (let step = from; step < to; step++) trainStep(backend, model, state, [noiseBatch(step)], options);
    };
    const start = () => createState(backend, model, 11, { average: ema !== false });
    const before = backend.tf.memory().numTensors;
    const through = start();
    steps(through, 0, 4);
    const stopped = start();
    steps(stopped, 0, 2);
    await inFolder(async (out) => {
      const { numerics } = backend;
      const state = await downloadState(stopped);
      await writeCheckpoint(out, {
        ...someCheckpoint(2),
        state,
        model,
        recipe: { ...RECIPE, model: model.recipe, ema },
        numerics,
      });
      const folder = await latestCheckpoint(out);
      assert.ok(folder);
      const resumed = uploadState(backend, model, (await readCheckpoint(folder)).state);
      assert.equal(resumed.step, 2);
      steps(resumed, 2, 4);
      assert.equal(resumed.average === null, ema === false);
      assert.deepEqual(await downloadState(resumed), await downloadState(through));
      disposeState(backend, resumed);
    });
    disposeState(backend, through);
    disposeState(backend, stopped);
    assert.equal(backend.tf.memory().numTensors, before);
  }
});

const WITH_EMA = parseRecipe({ ...RECIPE, ema: { halfLifeImages: 64 } }, 'the golden recipe with ema');

test('an average is written beside the weights, under the same names, and read back to the bit', async () => {
  await inFolder(async (out) => {
    const written = someCheckpoint(7, WITH_EMA);
    assert.ok(written.state.average);
    const folder = await writeCheckpoint(out, written);
    assert.deepEqual((await readdir(folder)).sort(), [...FILES, 'ema.safetensors'].sort());
    assert.deepEqual((await readCheckpoint(folder)).state, written.state);
    const names = async (file: string) => [...decodeTensors(await readFile(join(folder, file))).tensors.keys()];
    assert.deepEqual(await names('ema.safetensors'), await names('weights.safetensors'));
  });
});

test('an average without a recipe for it, or the other way round, is refused; so is a damaged one', async () => {
  const withoutEma = parseRecipe(RECIPE, 'the golden recipe');
  const state = (folder: string) => join(folder, 'state.json');
  const rewrite = async (folder: string, change: (description: Record<string, unknown>) => void) => {
    const description = JSON.parse(await readFile(state(folder), 'utf8'));
    change(description);
    await writeFile(state(folder), JSON.stringify(description));
  };
  const cases: [recipe: Recipe, file: string, harm: (folder: string) => Promise<void>][] = [
    [WITH_EMA, 'ema.safetensors', (folder) => appendFile(join(folder, 'ema.safetensors'), 'x')],
    [WITH_EMA, 'ema.safetensors', (folder) => rm(join(folder, 'ema.safetensors'))],
    [
      WITH_EMA,
      'state.json',
      (folder) => rewrite(folder, (description) => Object.assign(description, { recipe: withoutEma })),
    ],
    [
      withoutEma,
      'state.json',
      (folder) => rewrite(folder, (description) => Object.assign(description, { recipe: WITH_EMA })),
    ],
  ];
  for (const [recipe, file, harm] of cases)
    await inFolder(async (out) => {
      const folder = await writeCheckpoint(out, someCheckpoint(1, recipe));
      await harm(folder);
      await assert.rejects(
        readCheckpoint(folder),
        (error) =>
          error instanceof Fault &&
          /^checkpoint-(damaged|missing)$/.test(error.code) &&
          error.received.includes(join(folder, file)),
      );
      const written = someCheckpoint(2, recipe);
      const other = recipe.ema ? withoutEma : WITH_EMA;
      await assert.rejects(writeCheckpoint(out, { ...written, recipe: other }), /an average belongs/);
    });
});

test('a step that is checkpointed again replaces its folder', async () => {
  await inFolder(async (out) => {
    const first = someCheckpoint(9);
    await writeCheckpoint(out, first);
    const folder = await writeCheckpoint(out, { ...first, trainHash: 'ef'.repeat(32) });
    assert.equal((await readCheckpoint(folder)).trainHash, 'ef'.repeat(32));
    assert.deepEqual(await readdir(out), ['checkpoint-00000009']);
  });
});

test('damage is named with the file: a missing file, a state that is no JSON, other fields, another format', async () => {
  const without = (path: string) => rm(join(path, '..', 'SHA256SUMS'));
  const rewritten = (text: string) => async (path: string) => {
    await without(path);
    await writeFile(path, text);
  };
  const damage: [code: string, file: string, harm: (path: string) => Promise<void>][] = [
    ['checkpoint-damaged', 'optimizer.safetensors', (path) => appendFile(path, 'x')],
    ['checkpoint-missing', 'optimizer.safetensors', (path) => rm(path)],
    ['checkpoint-missing', 'state.json', (path) => rm(path)],
    ['checkpoint-damaged', 'state.json', rewritten('{"form')],
    ['checkpoint-damaged', 'state.json', rewritten('{"format":"medium-recipe/checkpoint@1"}')],
    ['checkpoint-format', 'state.json', rewritten('{"format":"medium-recipe/checkpoint@2"}')],
  ];
  for (const [code, file, harm] of damage)
    await inFolder(async (out) => {
      const folder = await writeCheckpoint(out, someCheckpoint(1));
      await harm(join(folder, file));
      await assert.rejects(readCheckpoint(folder), damaged(code, join(folder, file)));
    });
});

test('a flipped bit is found wherever it is: all along state.json, SHA256SUMS and the tensors', async () => {
  await inFolder(async (out) => {
    const folder = await writeCheckpoint(out, { ...someCheckpoint(1), score: SCORE });
    for (const name of FILES) {
      const path = join(folder, name);
      const whole = await readFile(path);
      const every = name.endsWith('.safetensors') ? Math.ceil(whole.length / 20) : 5;
      for (let at = 0; at < whole.length; at += every) {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] as number) ^ (1 << (at % 8));
        await writeFile(path, bytes);
        await assert.rejects(readCheckpoint(folder), damaged('checkpoint-damaged', folder), `${name}, byte ${at}`);
      }
      await writeFile(path, whole);
    }
    assert.deepEqual((await readCheckpoint(folder)).score, SCORE);
  });
});

test('a checkpoint of before there were checksums can be read', async () => {
  await inFolder(async (out) => {
    const folder = join(out, 'checkpoint-00000123');
    await cp(new URL('.', goldenFile('state.json')), folder, { recursive: true });
    await rm(join(folder, 'SHA256SUMS'));
    assert.deepEqual((await readCheckpoint(folder)).state, someCheckpoint(123).state);
  });
});

function damaged(code: string, where: string) {
  return (error: unknown) => error instanceof Fault && error.code === code && error.received.includes(where);
}
