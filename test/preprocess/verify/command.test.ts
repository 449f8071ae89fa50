import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '../../commands.ts';
import { temporaryFolder } from '../../shards/dataset.ts';
import { sealedDataset } from './sealed.ts';

const TAR = '16/train-000000.tar';

test("'preprocess verify' says what it checked, ends with 1 where something is damaged, and with 2 on wrong usage", async (t) => {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir);
  const whole = await run('preprocess', ['verify', dir, '--deep']);
  assert.equal(whole.code, 0, whole.stderr);
  assert.match(whole.stdout, /is whole: 30 files, 14 samples, .* GB\/s; every byte checked, every JPEG decoded\n$/);
  assert.match(whole.stderr, /8\/8 shards, .* 0 damages\n$/);

  const tar = await readFile(join(dir, TAR));
  tar[512] = 0;
  await writeFile(join(dir, TAR), tar);
  await rm(join(dir, '8/val.json'));
  const damaged = await run('preprocess', ['verify', dir, '--workers', '2']);
  assert.equal(damaged.code, 1);
  assert.equal(damaged.stdout, '');
  assert.match(damaged.stderr, /^damaged 8\/val\.json: missing: expected a file, got ENOENT$/m);
  const member =
    /^damaged 16\/train-000000\.tar: sha256 of \.jpg \(key 00000000-photo_0 at byte 512\): expected \w{64}, got \w{64}$/m;
  assert.match(damaged.stderr, member);
  assert.match(damaged.stderr, /^error damaged: .* with 2 damages; .*restore the named files/m);

  const json = await run('preprocess', ['verify', dir, '--json']);
  assert.equal(json.code, 1);
  const { ok, files, samples, damages, damageCount, error } = JSON.parse(json.stdout.trim().split('\n').at(-1) ?? '');
  assert.deepEqual([ok, files, samples, damageCount, error.code], [false, 29, 13, 2, 'damaged']);
  assert.deepEqual(Object.keys(damages[1]).sort(), ['expected', 'file', 'key', 'offset', 'received', 'what']);

  assert.equal((await run('preprocess', ['verify', dir, '--workers', '0'])).code, 2);
  assert.equal((await run('preprocess', ['verify', join(dir, 'nowhere')])).code, 1);
});
