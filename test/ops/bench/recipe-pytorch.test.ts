// ops/python/train.py is our trainer in PyTorch: on the same records, from the same weights, the same losses and weights.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { decodeTensors, type RawTensor, readManifest, valuesOf } from '#shards';
import type { Recipe } from '#stream';
import type { JournalEntry } from '#trainer';
import {
  type PythonStep,
  runTrainPy,
  torchPython as torchOf,
  writeInitialCheckpoint,
} from '../../../ops/bench/recipe-pytorch.ts';
import { readMeta } from '../../../stream/meta.ts';
import { lanesOfRank } from '../../../stream/ranks.ts';
import { replay } from '../../../stream/replay.ts';
import { openTransport } from '../../../stream/transport/index.ts';
import { consume } from '../../../trainer/consume.ts';
import { packPhotos, temporaryFolder } from '../../packed.ts';
import { requirement } from '../../requirements.ts';
import { smallRecipe } from '../../stream/fixtures.ts';
import { produceSmall } from '../../stream/producing.ts';
import { type Python, readerPython, torchPython } from '../../torch-python.ts';

/** Three epochs of 3 steps. */
const PHASES = [
  { resolution: 24, epochs: 1, batch: 24 },
  { resolution: 32, epochs: 1, batch: 24 },
  { resolution: 32, epochs: 1, batch: 24, fixres: { lr: 0.05, lrPerBatch: 16 } },
];

const RECIPES: Readonly<Record<string, Recipe>> = {
  'groups with a perturbation each, an average, clipping': smallRecipe({
    phases: PHASES,
    groups: 2,
    model: { layers: [1, 1, 1, 1], width: 4, blurpool: 3 },
    optimizer: { lr: 0.02, lrPerBatch: 16, nesterov: true, weightDecay: 5e-3, warmupEpochs: 0.3 },
    sam: { rho: 0.05 },
    labelSmoothing: 0.1,
    clip: { norm: 1 },
    ema: { halfLifeImages: 48 },
  }),
  'one perturbation for all groups, adaptive, every second step, which moves the statistics; basic blocks': smallRecipe(
    {
      phases: PHASES,
      groups: 2,
      mixup: false,
      model: { block: 'basic', layers: [1, 1, 1, 1], width: 4, blurpool: false, zeroInitGamma: false },
      optimizer: { lr: 0.02, lrPerBatch: 16, weightDecay: 5e-3, decay: 'all', schedule: { milestones: [1] } },
      sam: { rho: 0.5, adaptive: true, interval: 2, scope: 'global', bnSecondPass: true },
    },
  ),
};

/** Relative, of float32: losses of the first 3 steps, and losses and weights to the plan's end, when rounding has grown. */
const TOLERANCE = { first: 1e-5, all: 1e-4 };

/**
 * Where a ReLU's input is 0 within rounding, two correct trainers may take different sides, and part by 1e-3 on a net this
 * small. So one of three seeds has to agree, which a trainer that computes anything else does with none.
 */
const SEEDS = [0, 1, 2];

const tensorsOf = async (file: string) => decodeTensors(await readFile(file)).tensors;

/** ‖a − b‖ / ‖b‖ over all tensors of `ours`. */
function distance(ours: ReadonlyMap<string, RawTensor>, theirs: ReadonlyMap<string, RawTensor>): number {
  let [apart, length] = [0, 0];
  for (const [name, tensor] of ours) {
    const other = theirs.get(name);
    assert.deepEqual(other?.shape, tensor.shape, name);
    const [a, b] = [valuesOf(tensor, 'F32'), valuesOf(other as RawTensor, 'F32')];
    a.forEach((value, i) => {
      apart += (value - (b[i] ?? Number.NaN)) ** 2;
      length += (b[i] ?? Number.NaN) ** 2;
    });
  }
  return Math.sqrt(apart / length);
}

/** Trains twice; what differs beyond the tolerance, in words. */
async function differences(recipe: Recipe, shards: string, { file, env }: Python, tell: (line: string) => void) {
  const { signal } = new AbortController();
  const { dataset } = await readManifest(shards);
  const folder = temporaryFolder();
  const [run, url, out, records] = ['run', `log:${join(folder, 'log')}`, join(folder, 'out'), join(folder, 'records')];
  const transport = await openTransport(url);
  await produceSmall({ transport, run, shards, recipe });
  const meta = await readMeta(transport, run);
  assert.ok(meta);
  const lanes = lanesOfRank(meta.plan, 0, 1);
  await replay({ transport, run, meta, lanes, shards: null, verify: true, to: records, signal, onStep: () => {} });
  await transport.close();

  const initial = await writeInitialCheckpoint(join(folder, 'initial'), recipe, dataset, 'tfjs-node');
  const settings = { settings: [], resume: false, allowOtherNumerics: false, waitMs: 0, prefetchBytes: 2 ** 26 };
  await consume({ ...settings, transport: url, run, out, backend: 'tfjs-node', signal, onLine: () => {} });
  const journal = (await readFile(join(out, 'journal.jsonl'), 'utf8')).trim().split('\n');
  const ours = journal.map((line) => JSON.parse(line) as JournalEntry);

  const trained = join(folder, 'trained.safetensors');
  const args = ['--records', records, '--threads', '2', '--out', trained];
  const theirs = await runTrainPy(file, ['--checkpoint', initial, ...args], { env });
  const rates = (steps: readonly { step: number; lr: number }[]) => steps.map(({ step, lr }) => [step, lr.toFixed(12)]);
  assert.deepEqual(rates(theirs), rates(ours));
  // From the middle: weights, momentum and average are those of the checkpoint.
  const from = ['--checkpoint', join(out, 'checkpoint-00000006'), '--records', records, '--steps', '2'];
  const rest = await runTrainPy(file, from, { env });
  assert.deepEqual(
    rest.map(({ step }) => step),
    [6, 7],
  );
  const relative = (steps: readonly PythonStep[]) =>
    steps.map(({ step, loss }) => Math.abs((ours[step]?.loss ?? Number.NaN) / loss - 1));
  const [whole, second] = [relative(theirs), relative(rest)];
  const kept = recipe.ema ? 'ema.safetensors' : 'weights.safetensors';
  const last = await tensorsOf(join(out, 'checkpoint-00000009', kept));
  const moved = distance(last, await tensorsOf(join(initial, kept)));
  const apart = distance(last, await tensorsOf(trained)) / moved;
  const words = (values: readonly number[]) => values.map((value) => value.toExponential(1)).join(' ');
  tell(`seed ${recipe.seed}: losses differ by ${words(whole)}; from step 6 by ${words(second)}`);
  tell(`training moved the weights by ${words([moved])}; they differ by ${words([apart])} of that`);
  const within = (values: readonly number[], tolerance: number) => values.every((value) => value <= tolerance);
  return [
    ...(within(whole.slice(0, 3), TOLERANCE.first) ? [] : [`losses of the first steps: ${words(whole.slice(0, 3))}`]),
    ...(within(whole, TOLERANCE.all) ? [] : [`losses: ${words(whole)}`]),
    ...(within(second, TOLERANCE.first) ? [] : [`losses from step 6: ${words(second)}`]),
    ...(within([apart], TOLERANCE.all) ? [] : [`weights: ${words([apart])}`]),
  ];
}

describe('the recipe in PyTorch', requirement('python'), () => {
  let shards: Promise<string> | null = null;

  for (const [name, recipe] of Object.entries(RECIPES))
    it(name, requirement('tfjs-node'), async (t) => {
      const reader = await readerPython(t);
      const python = reader && (await torchPython(t, reader));
      if (python === null) return;
      shards ??= packPhotos('24:32,32:40');
      const found: string[][] = [];
      for (const seed of SEEDS) {
        found.push(await differences({ ...recipe, seed }, await shards, python, (line) => t.diagnostic(line)));
        if (found.at(-1)?.length === 0) return;
      }
      assert.fail(`no seed agrees: ${JSON.stringify(found)}`);
    });

  it('names an interpreter that has no torch', async (t) => {
    const reader = await readerPython(t);
    if (reader === null) return;
    await assert.rejects(
      torchOf(reader.file, () => {}),
      { code: 'python-packages', message: /No module named 'torch'/ },
    );
  });
});
