// What PyTorch computes in float64 (test/fixtures/parity), within the cases' own tolerances.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { type Backend, loadBackend } from '#trainer';
import { requirement } from '../requirements.ts';
import { native } from './backends.ts';
import { type ParityFile, runParityCase } from './parity-case.ts';

async function assertParity(backend: Backend, name: string, steps?: number): Promise<void> {
  const url = new URL(`../../../test/fixtures/parity/${name}.json`, import.meta.url);
  const file = JSON.parse(await readFile(url, 'utf8')) as ParityFile;
  const before = backend.tf.memory().numTensors;
  const comparisons = await runParityCase(backend, file, steps ?? file.case.steps);
  assert.equal(backend.tf.memory().numTensors, before);
  const wrong = comparisons.filter(({ error, tolerance }) => !(error <= tolerance));
  assert.deepEqual(wrong, []);
}

for (const name of ['sam-small', 'sam-small-filter3', 'resnet50'])
  test(
    `${name} on tfjs-node is PyTorch's: logits, gradients, SAM, losses, weights`,
    requirement('parity'),
    async () => {
      await assertParity(await native(), name);
    },
  );

test("sam-small on wasm is PyTorch's: logits, first gradients, SAM's gradients, first loss", async () => {
  await assertParity(await loadBackend('wasm'), 'sam-small', 1);
});
