// The first error is the one that is thrown, and nothing is left undone because of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withCleanup } from '../../trainer/cleanup.ts';

const failing = (name: string) => async (): Promise<never> => {
  throw new Error(name);
};

test('every cleaner runs in order, and the work’s value comes back', async () => {
  const done: string[] = [];
  const clean = (name: string) => async () => void done.push(name);
  assert.equal(await withCleanup(async () => done.push('work'), clean('a'), clean('b')), 1);
  assert.deepEqual(done, ['work', 'a', 'b']);
});

test('the work’s error wins over the cleaners’, whose first wins over the others', async () => {
  let last = 0;
  const ends = async () => void last++;
  await assert.rejects(withCleanup(failing('work'), failing('a'), ends), /work/);
  await assert.rejects(
    withCleanup(async () => 1, failing('a'), failing('b'), ends),
    /a/,
  );
  assert.equal(last, 2);
});
