import assert from 'node:assert/strict';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fault } from '#shards';
import { Workspace } from '../../preprocess/workspace.ts';
import { temporaryFolder } from '../shards/dataset.ts';

const fault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;
const fresh = { resume: false };

test('what is given up without a finished shard leaves nothing, made parents included, and no more than those', async (t) => {
  const dir = await temporaryFolder(t);
  await mkdir(join(dir, 'kept'));
  await (await Workspace.open(join(dir, 'kept/a/b/out'), fresh)).leave();
  assert.deepEqual(await readdir(dir), ['kept']);
  assert.deepEqual(await readdir(join(dir, 'kept')), []);
  await (await Workspace.open(join(dir, 'kept'), fresh)).leave();
  assert.deepEqual(await readdir(dir), ['kept']);
});

test('a target that holds something, or is a file, is refused and stays as it was', async (t) => {
  const dir = await temporaryFolder(t);
  await writeFile(join(dir, 'file'), '');
  for (const resume of [false, true])
    for (const out of [dir, join(dir, 'file'), join(dir, 'file/out')])
      await assert.rejects(Workspace.open(out, { resume }), fault('target-exists'), out);
  assert.deepEqual(await readdir(dir), ['file']);
});

test('two runs on one target refuse each other, also with resume', async (t) => {
  const out = join(await temporaryFolder(t), 'out');
  const first = await Workspace.open(out, fresh);
  for (const resume of [false, true]) await assert.rejects(Workspace.open(out, { resume }), fault('out-locked'));
  assert.deepEqual(await readdir(first.state), ['lock']);
  await first.leave();
  assert.deepEqual(await readdir(join(out, '..')), []);
});

test('a finished target is refused, and taken with resume', async (t) => {
  const out = join(await temporaryFolder(t), 'out');
  for (const file of ['manifest.json', 'part.json'] as const) {
    await mkdir(out, { recursive: true });
    await writeFile(join(out, file), '');
    await assert.rejects(Workspace.open(out, fresh), fault('target-exists'));
    const workspace = await Workspace.open(out, { resume: true });
    assert.equal(workspace.finished, file);
    await workspace.leave();
    assert.deepEqual(await readdir(out), [file]);
    await rm(out, { recursive: true });
  }
});
