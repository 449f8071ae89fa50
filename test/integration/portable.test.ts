// Small nets beside PyTorch: exports load strictly there, its weights here, and both answer the same. Whole ResNets: npm run portable.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ModelRecipe } from '#stream';
import { PHOTOS, packPhotos, temporaryFolder } from '../packed.ts';
import { compare } from '../portable/comparison.ts';
import { writeRandomNet } from '../portable/random-net.ts';
import { torchPython } from '../portable/torch-python.ts';
import { anyBackend } from '../trainer/backends.ts';
import { crops } from '../trainer/portable-fixtures.ts';

const NETS: readonly Partial<ModelRecipe>[] = [
  { layers: [1, 1, 1, 1], width: 4, blurpool: 4 },
  { block: 'basic', layers: [1, 2, 1, 1], width: 4, blurpool: 5 },
  { layers: [1, 1, 2, 1], width: 4, blurpool: false },
];

test('exports load strictly into PyTorch and answer the same, and its weights do here', {
  timeout: 180_000,
}, async (t) => {
  const python = await torchPython();
  if (python === null) {
    const reason =
      'no python3 here has torch, torchvision, safetensors and antialiased-cnns: npm run portable makes one';
    process.stderr.write(`SKIPPED: ${reason}\n`);
    t.skip(reason);
    return;
  }
  const backend = await anyBackend();
  const { images, resolution } = await crops();
  const shards = await packPhotos(`${resolution}:56`);
  for (const model of NETS) {
    const checkpoint = await writeRandomNet(backend, temporaryFolder(), { model, classes: 5 }, { images, resolution });
    const folder = join(temporaryFolder(), 'exchange');
    const task = { python, backend, checkpoint, photos: PHOTOS, shards, resolution, folder };
    const found = await compare({ ...task, splits: ['val'] });
    assert.deepEqual([found.missing, found.unexpected], [[], []]);
    for (const { photos, worst, differing } of [found.exported, found.imported]) {
      assert.equal(photos, 18);
      assert.ok(worst < 1e-4, `logits differ by ${worst}`);
      assert.deepEqual(differing, []);
    }
    assert.deepEqual(found.pixels, { differing: 0, bytes: 18 * resolution * resolution * 3 });
  }
});
