// Import and export against what PyTorch wrote: keys, logits and bits; and every way in which a file can be the wrong one.

import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeTensors, encodeTensors, Fault, type RawTensor, valuesOf } from '#shards';
import { type Backend, type HostValues, inferLogits, type Model, readWeights, uploadValues } from '#trainer';
import { exportCheckpoint } from '../../trainer/export.ts';
import { importWeights } from '../../trainer/import.ts';
import { temporaryFolder } from '../packed.ts';
import { anyBackend } from './backends.ts';
import { crops, fixture, tensorFixture, tensorOf } from './portable-fixtures.ts';

const quiet = { force: false, onLine: () => {} };
const fault =
  (code: string, ...told: string[]) =>
  (error: unknown) => {
    assert.ok(error instanceof Fault, String(error));
    assert.equal(error.code, code);
    for (const text of told) assert.ok(error.message.includes(text), `${error.message} says nothing of ${text}`);
    return true;
  };

/** Logits of the fixtures' photos. */
async function logitsOf(backend: Backend, model: Model, values: HostValues): Promise<Float32Array> {
  const { images, n, resolution } = await crops();
  const tensors = uploadValues(backend, model, values);
  const logits = inferLogits(backend, model, tensors, { images, labels: new Int32Array(n), resolution });
  backend.tf.dispose([tensors.weights, tensors.statistics]);
  return logits;
}

for (const [name, model] of [
  ['blurpool', { block: 'bottleneck', layers: [1, 1, 1, 1], width: 2, blurpool: 4, zeroInitGamma: false }],
  ['plain', { block: 'basic', layers: [1, 2, 1, 1], width: 2, blurpool: false, zeroInitGamma: false }],
] as const) {
  test(`weights of PyTorch, ${name}: the model is found, the logits are PyTorch's, and an export gives back its bytes`, async () => {
    const backend = await anyBackend();
    const before = backend.tf.memory().numTensors;
    const out = join(temporaryFolder(), 'imported');
    const result = await importWeights({ weights: fixture(`${name}.safetensors`), out, ...quiet });
    assert.deepEqual([result.model, result.classes, result.converted], [model, 5, {}]);
    const loaded = await readWeights(out);
    assert.deepEqual([loaded.step, loaded.choice, loaded.checkpoint], [0, 'trained', null]);
    const ours = await logitsOf(backend, loaded.model, loaded.values);
    const theirs = valuesOf(tensorOf(await tensorFixture(`${name}.logits.safetensors`), 'logits'), 'F32');
    assert.equal(ours.length, theirs.length);
    const worst = Math.max(...ours.map((value, i) => Math.abs(value - (theirs[i] as number))));
    assert.ok(worst < 1e-4, `logits differ by ${worst}`);
    assert.equal(backend.tf.memory().numTensors, before);

    const file = join(temporaryFolder(), 'back.safetensors');
    const exported = await exportCheckpoint({ checkpoint: out, out: file, weights: undefined, force: false });
    const back = decodeTensors(await readFile(file));
    const given = await tensorFixture(`${name}.safetensors`);
    assert.equal(back.metadata['format'], 'pt');
    assert.deepEqual([...back.tensors.keys()].sort(), [...given.tensors.keys()].sort());
    assert.equal(exported.tensors, given.tensors.size);
    for (const { name: key, dtype, shape, data } of given.tensors.values()) {
      const found = tensorOf(back, key);
      assert.deepEqual([found.dtype, found.shape], [dtype, shape], key);
      // An import is no run: its export counts no batches.
      const expected = key.endsWith('num_batches_tracked') ? Buffer.alloc(8) : Buffer.from(data);
      assert.ok(Buffer.from(found.data).equals(expected), key);
    }
  });
}

/** The fixture with its tensors changed. */
async function changed(change: (tensors: Map<string, RawTensor>) => void, name = 'blurpool'): Promise<string> {
  const { tensors } = await tensorFixture(`${name}.safetensors`);
  const map = new Map(tensors);
  change(map);
  const file = join(temporaryFolder(), 'changed.safetensors');
  await writeFile(file, encodeTensors([...map.values()]));
  return file;
}

const into = (weights: string, onLine: (line: string) => void = quiet.onLine) =>
  importWeights({ weights, out: join(temporaryFolder(), 'out'), force: false, onLine });

test('missing and unexpected keys and other shapes are all named, each once', async () => {
  const weights = await changed((tensors) => {
    tensors.delete('layer3.0.bn2.running_var');
    tensors.set('head.weight', { ...tensorOf({ metadata: {}, tensors }, 'fc.weight'), name: 'head.weight' });
    const conv = tensorOf({ metadata: {}, tensors }, 'layer2.0.conv1.weight');
    tensors.set(conv.name, { ...conv, shape: [...conv.shape].reverse() });
  });
  await assert.rejects(
    into(weights),
    fault(
      'import-other-keys',
      '1 missing (layer3.0.bn2.running_var)',
      '1 unexpected (head.weight)',
      'layer2.0.conv1.weight F32 [1,1,8,4] for [4,8,1,1]',
    ),
  );
});

test('another model, a trained blur, numbers that are not finite and no file are refused by name', async () => {
  const without = (pattern: RegExp) => (tensors: Map<string, RawTensor>) => {
    for (const name of [...tensors.keys()]) if (pattern.test(name)) tensors.delete(name);
  };
  const poked = (name: string, value: number) => (tensors: Map<string, RawTensor>) => {
    const tensor = tensorOf({ metadata: {}, tensors }, name);
    const data = Uint8Array.from(tensor.data);
    new DataView(data.buffer).setFloat32(4, value, true);
    tensors.set(name, { ...tensor, data });
  };
  await assert.rejects(into(await changed(without(/^fc/))), fault('import-no-resnet', 'fc.weight'));
  await assert.rejects(into(await changed(without(/^layer4/))), fault('import-no-resnet'));
  await assert.rejects(into(await changed(without(/filt$/))), fault('import-other-keys', 'conv3.1.weight'));
  await assert.rejects(
    into(await changed(poked('layer2.0.conv3.0.filt', 0.5))),
    fault('import-other-filter', 'layer2.0.conv3.0.filt', '0.046875'),
  );
  await assert.rejects(
    into(await changed(poked('layer2.0.bn1.bias', Number.NaN))),
    fault('import-not-finite', 'layer2.0.bn1.bias with NaN at 1'),
  );
  await assert.rejects(into(join(temporaryFolder(), 'nothing')), fault('import-unreadable', 'ENOENT'));
  const filter8 = (tensors: Map<string, RawTensor>) => {
    const tensor = tensorOf({ metadata: {}, tensors }, 'maxpool.1.filt');
    tensors.set(tensor.name, { ...tensor, shape: [2, 1, 8, 8], data: new Uint8Array(512) });
  };
  await assert.rejects(into(await changed(filter8)), fault('import-other-filter', '8 × 8'));
});

test('a name that no model of this size has does not make one', async () => {
  const renamed = (tensors: Map<string, RawTensor>) => {
    const tensor = tensorOf({ metadata: {}, tensors }, 'layer1.0.bn1.bias');
    tensors.set('x', { ...tensor, name: 'layer1.4000000000.bn1.bias' });
  };
  await assert.rejects(into(await changed(renamed)), fault('import-no-resnet'));
});

test('files from before there were counters, and of DataParallel, are taken', async () => {
  const said: string[] = [];
  const weights = await changed((tensors) => {
    for (const tensor of [...tensors.values()]) {
      tensors.delete(tensor.name);
      const name = `module.${tensor.name}`;
      if (!name.endsWith('num_batches_tracked')) tensors.set(name, { ...tensor, name });
    }
  });
  const { classes } = await into(weights, (line) => said.push(line));
  assert.deepEqual([classes, said], [5, ["'module.' is taken off every name"]]);
});

test('other floating-point formats become F32 as PyTorch has it, and it is said', async () => {
  const { asFloat32 } = await import('../../trainer/float.ts');
  const file = await tensorFixture('floats.safetensors');
  for (const name of ['F64', 'F16', 'BF16'] as const) {
    const tensor = tensorOf(file, name);
    assert.equal(tensor.dtype, name);
    const expected = valuesOf(tensorOf(file, `${name}.F32`), 'F32');
    assert.deepEqual([...asFloat32({ ...tensor, dtype: name })], [...expected], name);
  }
  const said: string[] = [];
  const weights = await changed((tensors) => {
    for (const tensor of [...tensors.values()]) {
      if (tensor.dtype !== 'F32') continue;
      const data = new Uint8Array(Float64Array.from(valuesOf(tensor, 'F32')).buffer);
      tensors.set(tensor.name, { ...tensor, dtype: 'F64', data });
    }
  });
  const { converted } = await into(weights, (line) => said.push(line));
  const count = converted['F64'] ?? 0;
  assert.ok(count > 50);
  assert.deepEqual(said, [`${count} tensors of F64 become F32`]);
});

test('a folder with anything in it is not written into, and only an import is replaced', async () => {
  const weights = fixture('blurpool.safetensors');
  const out = join(temporaryFolder(), 'out');
  await mkdir(out);
  await importWeights({ weights, out, ...quiet });
  await assert.rejects(importWeights({ weights, out, ...quiet }), fault('out-exists', '--force'));
  await importWeights({ weights: fixture('plain.safetensors'), out, ...quiet, force: true });
  assert.equal((await readWeights(out)).model.recipe.blurpool, false);
  assert.deepEqual((await readdir(out)).sort(), ['model.json', 'weights.safetensors']);
  await writeFile(join(out, 'journal.jsonl'), '');
  await assert.rejects(importWeights({ weights, out, ...quiet, force: true }), fault('out-exists', 'journal.jsonl'));
});

test('a changed byte of an import is named with its file', async () => {
  const out = join(temporaryFolder(), 'out');
  await importWeights({ weights: fixture('blurpool.safetensors'), out, ...quiet });
  const path = join(out, 'weights.safetensors');
  const bytes = await readFile(path);
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
  await writeFile(path, bytes);
  await assert.rejects(readWeights(out), fault('weights-damaged', path));
  await writeFile(join(out, 'model.json'), '{}');
  await assert.rejects(readWeights(out), fault('weights-damaged', 'model.json'));
  await assert.rejects(readWeights(out, 'average'), fault('no-average', out));
});
