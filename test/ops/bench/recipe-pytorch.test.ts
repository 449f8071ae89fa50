// ops/python/train.py is our trainer in PyTorch: on the same records, from the same weights, the same losses and weights.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { decodeTensors, type RawTensor, readManifest, valuesOf } from '#shards';
import type { Recipe } from '#stream';
import type { JournalEntry } from '#trainer';
import { runTrainPy, torchPython as torchOf, writeInitialCheckpoint } from '../../../ops/bench/recipe-pytorch.ts';
import { readMeta } from '../../../stream/meta.ts';
import { lanesOfRank } from '../../../stream/ranks.ts';
import { replay } from '../../../stream/replay.ts';
import { openTransport } from '../../../stream/transport/index.ts';
import { consume } from '../../../trainer/consume.ts';
import { packPhotos, temporaryFolder } from '../../packed.ts';
import { requirement } from '../../requirements.ts';
import { smallRecipe } from '../../stream/fixtures.ts';
import { produceSmall } from '../../stream/producing.ts';
import { readerPython, torchPython } from '../../torch-python.ts';

/** Three epochs of 3 steps; the first steps have a rate above 0 soon, as a warm-up of one step ends. */
const PHASES = [
  { resolution: 32, epochs: 1, batch: 24 },
  { resolution: 48, epochs: 1, batch: 24 },
  { resolution: 48, epochs: 1, batch: 24, fixres: { lr: 0.05, lrPerBatch: 16 } },
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

/** Relative, of float32: 3 steps in, and at the plan's end, when rounding has grown. */
const TOLERANCE = { first: 1e-5, all: 1e-4 };

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

describe('the recipe in PyTorch', requirement('python'), () => {
  const { signal } = new AbortController();
  let shards: Promise<string> | null = null;

  for (const [name, recipe] of Object.entries(RECIPES))
    it(name, requirement('tfjs-node'), async (t) => {
      const reader = await readerPython(t);
      const python = reader && (await torchPython(t, reader));
      if (python === null) return;
      shards ??= packPhotos('32:40,48:56');
      const { dataset } = await readManifest(await shards);
      const folder = temporaryFolder();
      const [run, url, out, records] = [
        'run',
        `log:${join(folder, 'log')}`,
        join(folder, 'out'),
        join(folder, 'records'),
      ];
      const transport = await openTransport(url);
      await produceSmall({ transport, run, shards: await shards, recipe });
      const meta = await readMeta(transport, run);
      assert.ok(meta);
      const lanes = lanesOfRank(meta.plan, 0, 1);
      await replay({ transport, run, meta, lanes, shards: null, verify: true, to: records, signal, onStep: () => {} });
      await transport.close();

      const initial = await writeInitialCheckpoint(join(folder, 'initial'), recipe, dataset, 'tfjs-node');
      const settings = { settings: [], resume: false, allowOtherNumerics: false, waitMs: 0, prefetchBytes: 2 ** 26 };
      await consume({ ...settings, transport: url, run, out, backend: 'tfjs-node', signal, onLine: () => {} });
      const ours = (await readFile(join(out, 'journal.jsonl'), 'utf8'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as JournalEntry);

      const trained = join(folder, 'trained.safetensors');
      const args = ['--records', records, '--threads', '2', '--out', trained];
      const theirs = await runTrainPy(python.file, ['--checkpoint', initial, ...args], { signal, env: python.env });
      assert.deepEqual(
        theirs.map(({ step, lr }) => [step, lr.toPrecision(12)]),
        ours.map(({ step, lr }) => [step, lr.toPrecision(12)]),
      );
      const relative = ours.map(({ loss }, i) => Math.abs(loss / (theirs[i]?.loss ?? Number.NaN) - 1));
      t.diagnostic(`losses differ by ${relative.map((value) => value.toExponential(1)).join(' ')}`);
      assert.ok(Math.max(...relative.slice(0, 3)) <= TOLERANCE.first, `${relative}`);
      assert.ok(Math.max(...relative) <= TOLERANCE.all, `${relative}`);

      const last = join(out, 'checkpoint-00000009');
      const kept = recipe.ema ? 'ema.safetensors' : 'weights.safetensors';
      const apart = distance(await tensorsOf(join(last, kept)), await tensorsOf(trained));
      const moved = distance(await tensorsOf(join(last, kept)), await tensorsOf(join(initial, kept)));
      t.diagnostic(`weights differ by ${apart.toExponential(1)}, training moved them by ${moved.toExponential(1)}`);
      assert.ok(apart <= TOLERANCE.all * moved, `${apart} of ${moved}`);

      // From the middle: weights, momentum and average are those of the checkpoint.
      const from = ['--checkpoint', join(out, 'checkpoint-00000006'), '--records', records, '--steps', '2'];
      const rest = await runTrainPy(python.file, from, { signal, env: python.env });
      assert.deepEqual(
        rest.map(({ step }) => step),
        [6, 7],
      );
      for (const { step, loss } of rest)
        assert.ok(Math.abs(loss / (ours[step]?.loss ?? Number.NaN) - 1) <= TOLERANCE.first, `step ${step}: ${loss}`);
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
