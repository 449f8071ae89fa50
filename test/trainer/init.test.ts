// `--init`: what a run begins with, what it may not be, and that it cannot be forgotten when a run is started again.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import { canonicalJson, Fault } from '#shards';
import { parseRecipe } from '#stream';
import { buildModel, latestCheckpoint, readCheckpoint, readWeights } from '#trainer';
import { openTransport } from '../../stream/transport/index.ts';
import { type ConsumeOptions, consume } from '../../trainer/consume.ts';
import { importWeights } from '../../trainer/import.ts';
import { initialState } from '../../trainer/init.ts';
import { initialValues } from '../../trainer/model/initial.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { produceSmall } from '../stream/producing.ts';
import { fixture } from './portable-fixtures.ts';

const recipe = parseRecipe(
  {
    name: 'tuned',
    lanes: 2,
    phases: [{ resolution: 48, epochs: 1, batch: 42 }],
    model: { layers: [1, 1, 1, 1], width: 2, blurpool: 4 },
    // Too little to move a weight by a float32 digit that the test looks at.
    optimizer: { lr: 1e-12, weightDecay: 0 },
  },
  'a test',
);
const fault =
  (code: string, ...told: string[]) =>
  (error: unknown) => {
    assert.ok(error instanceof Fault, String(error));
    assert.equal(error.code, code);
    for (const text of told) assert.ok(error.message.includes(text), `${error.message} says nothing of ${text}`);
    return true;
  };

suite('--init', { timeout: 120_000 }, () => {
  let imported: string;
  before(async () => {
    imported = join(temporaryFolder(), 'imported');
    await importWeights({ weights: fixture('blurpool.safetensors'), out: imported, force: false, onLine: () => {} });
  });

  test('a run begins with the weights, and goes on only with the same ones', async () => {
    const url = `log:${join(temporaryFolder(), 'log')}`;
    const transport = await openTransport(url);
    const shards = await packPhotos('48:56');
    await produceSmall({ transport, run: 'tuned', shards, recipe });
    await transport.close();
    const lines: string[] = [];
    const options: ConsumeOptions = {
      transport: url,
      run: 'tuned',
      out: join(temporaryFolder(), 'out'),
      init: imported,
      backend: 'wasm',
      settings: [],
      resume: false,
      allowOtherNumerics: false,
      waitMs: 0,
      prefetchBytes: 2 ** 24,
      signal: new AbortController().signal,
      onLine: (line) => lines.push(line),
    };
    const { steps } = await consume(options);
    assert.equal(steps, 2);
    assert.ok(lines.includes(`step 0 from the weights of ${imported}`));
    const { values } = await readWeights(imported);
    const folder = await latestCheckpoint(options.out);
    assert.ok(folder);
    const { state } = await readCheckpoint(folder);
    for (const [name, expected] of Object.entries(values.weights))
      for (const [i, value] of (state.weights[name] ?? []).entries())
        assert.ok(Math.abs(value - (expected[i] as number)) < 1e-6, `${name}[${i}]`);
    // Statistics move whatever the learning rate is.
    assert.notDeepEqual(state.statistics['bn1.running_mean'], values.statistics['bn1.running_mean']);

    const resumed = { ...options, resume: true };
    assert.equal((await consume(resumed)).steps, 2);
    const { init: _, ...withoutInit } = resumed;
    assert.equal((await consume(withoutInit)).steps, 2);
    await assert.rejects(consume({ ...resumed, newHead: true }), fault('init-differs', 'head new', 'head kept'));
    await assert.rejects(consume({ ...resumed, init: folder }), fault('init-differs', folder, imported));
  });

  const model = buildModel(recipe.model, 5);

  test('a new head comes from the seed, all else from the weights', async () => {
    const out = temporaryFolder();
    const { values } = await readWeights(imported);
    const other = buildModel(recipe.model, 7);
    const options = { init: imported, out, resumes: false };
    await assert.rejects(initialState(options, other, 3), fault('init-other-classes', '5 classes', '--new-head'));
    const state = await initialState({ ...options, newHead: true }, other, 3);
    assert.ok(state);
    assert.equal(state.average, null);
    assert.equal(state.step, 0);
    assert.deepEqual(state.statistics, values.statistics);
    for (const parameter of other.parameters) {
      const { name } = parameter;
      const expected = name.startsWith('fc') ? initialValues(parameter, 3) : values.weights[name];
      assert.deepEqual(state.weights[name], expected, name);
      assert.ok(state.slots[name]?.every((value) => value === 0));
    }
  });

  test('weights of another model are refused by the first key that differs', async () => {
    const out = temporaryFolder();
    const other = buildModel({ ...recipe.model, blurpool: 3 }, 5);
    await assert.rejects(
      initialState({ init: imported, out, resumes: false }, other, 0),
      fault('init-other-model', 'model.blurpool = 3', '4'),
    );
    await assert.rejects(initialState({ newHead: true, out, resumes: false }, model, 0), fault('usage', '--init'));
  });

  test('a run that ended before its first checkpoint does not begin anew from the seed', async () => {
    const out = temporaryFolder();
    assert.equal(await initialState({ out, resumes: false }, model, 0), null);
    await initialState({ init: imported, out, resumes: false }, model, 0);
    const noted = JSON.parse(await readFile(join(out, 'init.json'), 'utf8')) as Record<string, string>;
    assert.deepEqual([noted['folder'], noted['head']], [imported, 'kept']);
    await assert.rejects(initialState({ out, resumes: false }, model, 0), fault('init-missing', imported));
    const begun = await initialState({ init: imported, out, resumes: false, average: true }, model, 0);
    assert.ok(begun);
    assert.deepEqual(begun.average, { weights: begun.weights, statistics: begun.statistics });
    await writeFile(join(out, 'init.json'), canonicalJson({ ...noted, sha256: '0' }));
    await assert.rejects(initialState({ init: imported, out, resumes: true }, model, 0), fault('init-differs'));
  });
});
