// A number that is not finite: found in the step, with the state as it was; told with commands that bring the batch back.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Fault } from '#shards';
import { disposeState, latestCheckpoint, readCheckpoint, trainStep } from '#trainer';
import { consume } from '../../trainer/consume.ts';
import { NotFinite } from '../../trainer/not-finite.ts';
import { replace } from '../../trainer/state.ts';
import { run } from '../commands.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { anyBackend } from './backends.ts';
import { freshState, noiseBatch, PLAIN, smallModel, valuesOf, WITH_SAM } from './training.ts';

const OVER_ALL = {
  ...WITH_SAM,
  sam: { rho: 0.05, adaptive: false, interval: 1, scope: 'global', bnSecondPass: false },
} as const;

const RECIPE = `
name: diverging
lanes: 2
groups: 2
phases:
  - { resolution: 32, epochs: 1, batch: 8 }
  - { resolution: 40, epochs: 1, batch: 80, fixres: { lr: 0.01, lrPerBatch: 80 } }
model: { layers: [1, 1, 1, 1], width: 4, blurpool: 2 }
optimizer: { lr: 0.05, weightDecay: 5.0e-4, warmupEpochs: 0.5 }
`;

test('a loss that is not finite names the group that it is of', async () => {
  const backend = await anyBackend();
  const model = smallModel();
  const state = freshState(backend, model);
  const broken = { ...noiseBatch(0, 1), lam: new Float32Array(4).fill(Number.NaN) };
  for (const options of [PLAIN, WITH_SAM])
    assert.throws(
      () => trainStep(backend, model, state, [noiseBatch(0), broken], options),
      (error) => error instanceof NotFinite && error.code === 'loss-not-finite' && error.group === 1,
    );
  disposeState(backend, state);
});

test('a gradient that is not finite stops the step though the loss is finite, with SAM and without', async () => {
  const backend = await anyBackend();
  const { tf } = backend;
  const model = smallModel();
  const state = freshState(backend, model);
  const set = (pattern: RegExp, value: number) => {
    for (const name of Object.keys(state.weights).filter((name) => pattern.test(name)))
      replace(backend, state.weights, name, tf.fill(state.weights[name]?.shape ?? [], value));
  };
  // Features of 1e-25 and a last layer of 1e25: logits near 1, and a gradient whose square float32 cannot hold.
  set(/^layer4\.0\.(bn3|downsample\.\d+)\.(weight|bias)$/, 0);
  set(/^layer4\.0\.bn3\.bias$/, 1e-25);
  replace(backend, state.weights, 'fc.weight', tf.mul(state.weights['fc.weight'] as never, 1e25));
  const before = {
    weights: valuesOf(state.weights),
    slots: valuesOf(state.slots),
    statistics: valuesOf(state.statistics),
  };
  const { numTensors } = tf.memory();
  for (const options of [PLAIN, WITH_SAM, OVER_ALL])
    assert.throws(
      () => trainStep(backend, model, state, [noiseBatch(0)], options),
      (error) =>
        error instanceof NotFinite &&
        error.code === 'gradient-not-finite' &&
        error.received === 'a gradient norm of Infinity at step 0, group 0',
    );
  assert.deepEqual(
    { weights: valuesOf(state.weights), slots: valuesOf(state.slots), statistics: valuesOf(state.statistics) },
    before,
  );
  assert.deepEqual([state.step, tf.memory().numTensors], [0, numTensors]);
  disposeState(backend, state);
});

/** The learning rate makes the weights so large within the first steps that the forward pass cannot be computed. */
test('a training that diverges ends with commands that show its batch, and leaves journal and checkpoint whole', {
  timeout: 120_000,
}, async () => {
  // A shell has to be told of such a folder.
  const dir = join(temporaryFolder(), "what isn't a word");
  await mkdir(dir);
  const out = join(dir, 'out');
  const recipe = join(dir, 'recipe.yaml');
  await writeFile(recipe, RECIPE);
  const target = ['--run', 'diverging', '--transport', `log:${join(dir, 'log')}`];
  const shards = await packPhotos('32:40,40:48');
  const produced = await run('stream', [
    'produce',
    ...target,
    '--shards',
    shards,
    '--recipe',
    recipe,
    '--workers',
    '1',
  ]);
  assert.equal(produced.code, 0, produced.stderr);
  // Warm-up: the first steps are small ones, and there is a checkpoint.
  const { code, stderr } = await run('trainer', [
    ...['consume', ...target, '--out', out, '--backend', 'wasm'],
    ...['--set', 'optimizer.lr=1e22', '--set', 'checkpointSteps=1'],
  ]);
  assert.equal(code, 1, stderr);
  const found = /error (loss|gradient)-not-finite: (.*) at step (\d+) \(phase 0 at 32 px, epoch 0\)/.exec(stderr);
  const step = Number(found?.[3] ?? assert.fail(stderr));
  assert.ok(step > 0, stderr);

  const steps = (await readFile(join(out, 'journal.jsonl'), 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).step);
  assert.equal(steps.length, step);
  assert.equal((await checkpointSteps(out)).at(-1), step);
  const { state } = await readCheckpoint((await latestCheckpoint(out)) ?? assert.fail(stderr));
  for (const values of Object.values(state.weights)) assert.ok(values.every(Number.isFinite));

  const printed = (verb: string) => new RegExp(`stream ${verb} .*?(?=; )`).exec(stderr)?.[0] ?? assert.fail(stderr);
  const stream = fileURLToPath(new URL('../../stream/cli.js', import.meta.url));
  const sh = (command: string) =>
    execFileSync('sh', ['-c', command.replace(/^stream/, `'${process.execPath}' '${stream}'`)], { stdio: 'pipe' });
  sh(printed('inspect'));
  assert.ok(existsSync(join(out, `step-${step}.png`)));
  sh(printed('replay'));
  const files = await readdir(join(out, `step-${step}`));
  assert.deepEqual(files.length, 2, 'a record of each lane');

  // An update that overflows: seen before the state is saved, or where an evaluation comes first, in that.
  const ends = (name: string, settings: string[]) =>
    consume({
      ...{ transport: `log:${join(dir, 'log')}`, run: 'diverging', out: join(dir, name), backend: 'wasm', settings },
      ...{ resume: false, allowOtherNumerics: false, waitMs: 0, prefetchBytes: 2 ** 24 },
      ...{ signal: new AbortController().signal, onLine: () => {} },
    });
  await assert.rejects(
    ends('weights', ['optimizer.lr=1e60', 'checkpointSteps=1']),
    (error) =>
      error instanceof Fault &&
      error.code === 'weights-not-finite' &&
      / at step 1 \(phase 0 at 32 px, epoch 0\)$/.test(error.received),
  );
  assert.deepEqual(await checkpointSteps(join(dir, 'weights')), [1]);
  await assert.rejects(
    ends('logits', ['phases.1.fixres.lr=1e60']),
    (error) =>
      error instanceof Fault &&
      error.code === 'logits-not-finite' &&
      / at step 10 \(phase 1 at 40 px, epoch 1\)$/.test(error.received),
  );
  assert.deepEqual(await checkpointSteps(join(dir, 'logits')), [10]);
});

/** Of the checkpoints in OUT, in order. */
async function checkpointSteps(out: string): Promise<number[]> {
  const names = (await readdir(out)).filter((name) => name.startsWith('checkpoint-'));
  return names.sort().map((name) => Number(name.slice('checkpoint-'.length)));
}
