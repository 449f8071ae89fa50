// What PyTorch computes in float64 (test/parity/cases), within the cases' own tolerances.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Backend, loadBackend } from '#trainer';
import { requirement } from '../requirements.ts';
import { native } from '../trainer/backends.ts';
import { caseNames, namedCase } from './cases.ts';
import { type Figure, passes, verdict } from './compare.ts';
import { figures, trainerOn } from './figures.ts';

async function assertParity(backend: Backend, name: string): Promise<void> {
  const before = backend.tf.memory().numTensors;
  const found: Figure[] = [];
  for await (const figure of figures(trainerOn(backend), await namedCase(name))) found.push(figure);
  assert.equal(backend.tf.memory().numTensors, before);
  assert.deepEqual(
    found.filter((figure) => !passes(figure)),
    [],
  );
  // What the file bounds by nothing is near enough to show a wrong layout.
  for (const { what, relative } of verdict(found).unbounded) assert.ok(relative < 0.1, `${what}: ${relative}`);
}

for (const name of await caseNames())
  test(`${name} on tfjs-node is PyTorch's in every figure`, requirement('parity'), async () => {
    await assertParity(await native(), name);
  });

test("nesterov-filter2 on wasm is PyTorch's in every figure", async () => {
  await assertParity(await loadBackend('wasm'), 'nesterov-filter2');
});
