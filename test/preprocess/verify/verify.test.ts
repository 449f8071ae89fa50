import assert from 'node:assert/strict';
import { appendFile, mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeIndex, Fault, WorkerPool } from '#shards';
import { DAMAGES_KEPT, type Damage, DamageList, damageLine } from '../../../preprocess/verify/damage.ts';
import { placesOf } from '../../../preprocess/verify/rows.ts';
import type { ShardReport, ShardTask } from '../../../preprocess/verify/shard.ts';
import { verifyDataset } from '../../../preprocess/verify/verify.ts';
import { temporaryFolder } from '../../shards/dataset.ts';
import { findings, sealedDataset, verified } from './sealed.ts';

const TAR = '8/train-000000.tar';

/** Of the n-th sample of the tar. */
async function places(dir: string, n: number): Promise<ReturnType<typeof placesOf>> {
  return placesOf(decodeIndex(await readFile(join(dir, TAR.replace('.tar', '.index.safetensors')))), n);
}

async function overwrite(path: string, at: number, bytes: Uint8Array): Promise<void> {
  const file = await readFile(path);
  file.set(bytes, at);
  await writeFile(path, file);
}

test('a sound dataset is whole, with every file, sample and byte counted; a pool finds the same', async (t) => {
  const dir = await temporaryFolder(t);
  const { dataset } = await sealedDataset(dir);
  const names = (await readdir(dir, { recursive: true })).filter((name) => name.includes('.'));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(dir, name))).size));
  const expected = {
    files: names.length,
    bytes: sizes.reduce((sum, size) => sum + size, 0),
    samples: 2 * (dataset.counts.train + dataset.counts.val),
    damages: [],
    damageCount: 0,
  };
  assert.deepEqual(await verified(dir, true), expected);
  const worker = new URL('../../../preprocess/verify/shard.worker.js', import.meta.url);
  const pool = await WorkerPool.open<ShardTask, ShardReport>(worker, 2);
  t.after(() => pool.close());
  const told: number[] = [];
  const pooled = await verifyDataset(dir, {
    deep: true,
    checkShard: (task) => pool.run(task),
    parallel: 3,
    onProgress: ({ shards, allShards }) => told.push(shards, allShards),
  });
  assert.deepEqual(pooled, expected);
  assert.deepEqual(told, [1, 8, 2, 8, 3, 8, 4, 8, 5, 8, 6, 8, 7, 8, 8, 8]);
});

test('a tar that was cut off names the member in which it ends', async (t) => {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir);
  const { size } = await stat(join(dir, TAR));
  const { cls, json } = await places(dir, 1);
  for (const [bytes, offset] of [
    [cls.offset + 1, cls.offset],
    [json.offset + 3, json.offset],
  ] as const) {
    await truncate(join(dir, TAR), bytes);
    const { damages, damageCount } = await verified(dir);
    assert.equal(damageCount, 1);
    const key = '00000002-photo_2';
    const [expected, received] = [`${size} bytes`, `${bytes}`];
    assert.deepEqual(damages[0], { file: TAR, key, offset, what: 'cut off', expected, received });
    await sealedAgain(dir);
  }
  // Inside the blocks that end the archive there is no member.
  await truncate(join(dir, TAR), size - 512);
  const { damages } = await verified(dir);
  assert.deepEqual(damages, [{ file: TAR, what: 'cut off', expected: `${size} bytes`, received: `${size - 512}` }]);
  await truncate(join(dir, TAR), 0);
  assert.deepEqual(findings(await verified(dir)), [`${TAR}: cut off`]);
});

/** Packs the same dataset again. */
async function sealedAgain(dir: string): Promise<void> {
  await rm(dir, { recursive: true });
  await mkdir(dir);
  await sealedDataset(dir);
}

test('a tar that grew is told, and so is damage in what was there before', async (t) => {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir);
  await appendFile(join(dir, TAR), 'more');
  assert.deepEqual(findings(await verified(dir)), [`${TAR}: longer than it was`]);
  const { jpg } = await places(dir, 2);
  await overwrite(join(dir, TAR), jpg.offset, Buffer.from('?'));
  const { damages } = await verified(dir);
  assert.deepEqual(
    damages.map(({ what, offset }) => [what, offset]),
    [
      ['sha256 of .jpg', jpg.offset],
      ['longer than it was', undefined],
    ],
  );
});

test('files that miss, files that nobody expects and what a killed run left are named', async (t) => {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir);
  for (const name of ['8/train.json', '16/val-000000.idx', '16/train-000001.tar', 'rejects.jsonl'])
    await rm(join(dir, name));
  for (const name of ['notes.txt', '8/train-000007.tar', '16/train-000000.tar.tmp'])
    await writeFile(join(dir, name), '');
  await mkdir(join(dir, '.packing'));
  await mkdir(join(dir, '9'));
  assert.deepEqual(findings(await verified(dir)).sort(), [
    '.packing: unexpected',
    '16/train-000000.tar.tmp: unexpected',
    '16/train-000001.tar: missing',
    '16/val-000000.idx: missing',
    '8/train-000007.tar: unexpected',
    '8/train.json: missing',
    '9: unexpected',
    'notes.txt: unexpected',
    'rejects.jsonl: missing',
  ]);
  await rm(join(dir, '8'), { recursive: true });
  assert.ok(findings(await verified(dir)).includes('8/val-000000.tar: missing'));
});

test('a folder in the place of a file is told, not thrown', async (t) => {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir);
  await rm(join(dir, TAR));
  await mkdir(join(dir, TAR));
  const { damages } = await verified(dir);
  assert.ok(
    damages.some(({ file, what, received }) => file === TAR && what === 'cannot be read' && received === 'EISDIR'),
  );
});

test("where DALI's index is damaged, too, the key comes from the tar's header", async (t) => {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir);
  await overwrite(join(dir, TAR.replace('.tar', '.idx')), 0, Buffer.from('V'));
  const { json } = await places(dir, 1);
  await overwrite(join(dir, TAR), json.offset, Buffer.from('['));
  const { damages } = await verified(dir);
  assert.deepEqual(
    damages.map(({ file, key, offset, what }) => ({ file, key, offset, what })),
    [
      { file: TAR.replace('.tar', '.idx'), key: undefined, offset: undefined, what: 'sha256' },
      { file: TAR, key: '00000002-photo_2', offset: json.offset, what: 'sha256 of .json' },
    ],
  );
});

test('two shards that changed places are told member by member', async (t) => {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir);
  await rename(join(dir, '8/train-000002.tar'), join(dir, 'aside'));
  await rename(join(dir, '16/train-000002.tar'), join(dir, '8/train-000002.tar'));
  await rename(join(dir, 'aside'), join(dir, '16/train-000002.tar'));
  const found = findings(await verified(dir));
  assert.ok(
    found.includes('8/train-000002.tar: sha256 of .jpg') && found.includes('16/train-000002.tar: sha256 of .jpg'),
  );
});

test('a damaged manifest is all that is told, because every hash is in it', async (t) => {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir);
  const path = join(dir, 'manifest.json');
  const text = await readFile(path, 'utf8');
  await rm(join(dir, TAR));
  await writeFile(path, text.replace('"seed":0', '"seed":1'));
  assert.deepEqual(findings(await verified(dir)), ['manifest.json: manifest-damaged']);
  // The same values in other bytes.
  await writeFile(path, text.replace('"seed":0', '"seed":0 '));
  const { damages } = await verified(dir);
  assert.deepEqual(findings({ damages }), ['manifest.json: bytes']);
  assert.equal(damages[0]?.offset, text.indexOf('"seed":0') + 8);
});

test('a folder without a manifest says why: nothing packed, not finished, or a part', async (t) => {
  const dir = await temporaryFolder(t);
  const code = (expected: string) => (error: unknown) => error instanceof Fault && error.code === expected;
  await assert.rejects(verified(dir), code('no-shards'));
  await mkdir(join(dir, '.packing'));
  await assert.rejects(verified(dir), code('unfinished'));
  await writeFile(join(dir, 'part.json'), '{}');
  await assert.rejects(verified(dir), code('only-a-part'));
});

test('of many damages the first are kept and told and all are counted', () => {
  const told: Damage[] = [];
  const list = new DamageList((damage) => told.push(damage));
  const damage = { file: 'a', what: 'b', expected: 'c'.repeat(5000), received: 'd' };
  for (let i = 0; i < 3 * DAMAGES_KEPT; i++) list.add(damage);
  const all = new DamageList();
  all.addAll(list);
  all.addAll(list);
  assert.deepEqual([told.length, list.kept.length, list.count], [DAMAGES_KEPT, DAMAGES_KEPT, 3 * DAMAGES_KEPT]);
  assert.deepEqual([all.kept.length, all.count], [DAMAGES_KEPT, 6 * DAMAGES_KEPT]);
  assert.ok((told[0] as Damage).expected.length < 500);
});

test('a damage is one line with file, key, byte, what was expected and what was there', () => {
  const damage = { file: TAR, key: 'k', offset: 512, what: 'sha256 of .jpg', expected: 'aa', received: 'bb' };
  assert.equal(damageLine(damage), `damaged ${TAR}: sha256 of .jpg (key k at byte 512): expected aa, got bb`);
  const { key: _, offset: __, ...bare } = damage;
  assert.equal(damageLine(bare), `damaged ${TAR}: sha256 of .jpg: expected aa, got bb`);
});
