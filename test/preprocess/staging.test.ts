import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fault } from '#shards';
import { openStaging } from '../../preprocess/staging.ts';
import { temporaryFolder } from '../shards/dataset.ts';

const fault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;

test('the target appears with the commit, in place of an empty folder too', async (t) => {
  const dir = await temporaryFolder(t);
  const out = join(dir, 'deep/out');
  const staging = await openStaging(out);
  await writeFile(join(staging.dir, 'a'), 'a');
  assert.deepEqual(await readdir(join(dir, 'deep')), ['.out.partial']);
  await staging.commit();
  assert.deepEqual(await readdir(join(dir, 'deep')), ['out']);
  assert.deepEqual(await readdir(out), ['a']);
  await mkdir(join(dir, 'empty'));
  await (await openStaging(join(dir, 'empty'))).commit();
  assert.deepEqual(await readdir(dir), ['deep', 'empty']);
});

test('what is discarded leaves nothing, the parents it made included, and no more than those', async (t) => {
  const dir = await temporaryFolder(t);
  await mkdir(join(dir, 'kept'));
  const staging = await openStaging(join(dir, 'kept/a/b/out'));
  await writeFile(join(staging.dir, 'a'), 'a');
  await staging.discard();
  assert.deepEqual(await readdir(dir), ['kept']);
  assert.deepEqual(await readdir(join(dir, 'kept')), []);
});

test('a target that holds something, or is a file, is refused', async (t) => {
  const dir = await temporaryFolder(t);
  await writeFile(join(dir, 'file'), '');
  for (const out of [dir, join(dir, 'file'), join(dir, 'file/out')])
    await assert.rejects(openStaging(out), fault('target-exists'), out);
  assert.deepEqual(await readdir(dir), ['file']);
});

test("a killed run's folder is replaced, a living run's is not", async (t) => {
  const dir = await temporaryFolder(t);
  const out = join(dir, 'out');
  const first = await openStaging(out);
  assert.equal(first.replacedStale, false);
  await assert.rejects(openStaging(out), fault('target-busy'));
  await writeFile(join(first.dir, 'half'), '');
  // Process ids end below 2^22 on Linux and far below on other systems.
  for (const owner of [`{"pid":99999999,"host":"${hostname()}"}`, '{"pi']) {
    await writeFile(join(first.dir, '.owner'), owner);
    const second = await openStaging(out);
    assert.equal(second.replacedStale, true);
    assert.deepEqual(await readdir(second.dir), ['.owner']);
  }
  await writeFile(join(first.dir, '.owner'), '{"pid":1,"host":"another machine"}');
  await assert.rejects(openStaging(out), fault('target-busy'));
});
