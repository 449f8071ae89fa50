// A damaged or unknown case is refused before anything is computed; a figure that is not near enough does not pass.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Fault } from '#shards';
import { parseCase, readCase, unknownKeys } from './case-file.ts';
import { compared, passes, verdict } from './compare.ts';

const PLAIN = new URL('../../../test/parity/cases/plain.json', import.meta.url);

type Json = Record<string, unknown>;

async function changed(change: (file: { case: Json; tolerance: Json } & Json) => void) {
  const file = JSON.parse(await readFile(PLAIN, 'utf8'));
  change(file);
  return () => parseCase(file, 'plain');
}

function isBadCase(part: RegExp) {
  return (error: unknown) =>
    error instanceof Fault && error.code === 'parity-case' && error.exit === 2 && part.test(error.message);
}

test('a case that is missing, incomplete, or of options and tolerances unknown to us is refused by name', async () => {
  await assert.rejects(readCase('/no/such/case.json'), isBadCase(/ENOENT/));
  const damages: [RegExp, Parameters<typeof changed>[0]][] = [
    [/case\.filter/, (file) => Object.assign(file.case, { filter: 8 })],
    [/case\.interval/, (file) => Object.assign(file.case, { interval: 0 })],
    [/"dampening"/, (file) => Object.assign(file.case, { dampening: 0.1 })],
    [/"final\.max"/, (file) => Object.assign(file.tolerance, { 'final.max': 1 })],
    [/tolerance\.firstLoss/, (file) => Object.assign(file.tolerance, { firstLoss: 'about 1e-5' })],
    [/tolerance\.samGradNorm/, (file) => delete file.tolerance['samGradNorm']],
    [/evalLogits of 3 values/, (file) => Object.assign(file, { evalLogits: [1, 2, 3] })],
    [/2 losses/, (file) => Object.assign(file, { loss: [1, 2] })],
    [/no samGradNorm/, (file) => Object.assign(file, { samGradNorm: {} })],
    [/nesterov/, (file) => Object.assign(file.case, { nesterov: true, momentum: 0 })],
  ];
  for (const [part, change] of damages) assert.throws(await changed(change), isBadCase(part));
});

test('a figure under a name that we do not know is listed', async () => {
  const parse = await changed((file) => Object.assign(file, { secondLoss: 2.3 }));
  assert.deepEqual(unknownKeys(parse()), ['secondLoss']);
});

test('a difference passes up to its tolerance of its scale; what is not finite never does', () => {
  const pairs = [
    { what: 'a', ours: 10.2, theirs: 10 },
    { what: 'b', ours: 0.2, theirs: 0.1 },
    { what: 'c', ours: Number.NaN, theirs: 1 },
  ];
  const results = (of: 'itself' | 'largest') => compared(pairs, { tolerance: 0.03, of }).map(passes);
  assert.deepEqual(results('itself'), [true, false, false]);
  assert.deepEqual(results('largest'), [true, true, false]);
  assert.deepEqual(compared(pairs, undefined).map(passes), [true, true, false]);
  const { pass, worst } = verdict(compared(pairs, { tolerance: 0.03, of: 'largest' }));
  assert.deepEqual([pass, worst.what], [false, 'c']);
});
