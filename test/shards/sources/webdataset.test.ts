import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { packed, photos, writeFiles } from '../../preprocess/photos.ts';
import { temporaryFolder } from '../dataset.ts';
import { blocks, END, fault, filesTar, headerBlock, scanned, tarOf } from './tars.ts';

const VAL = { 'v.jpg': 'v', 'v.cls': '0' };

/** A folder with one shard of train and one of val. */
async function shards(t: TestContext, train: Record<string, string>, val: Record<string, string> = VAL) {
  const files = { 'x-train-0.tar': await filesTar(train), 'x-val-0.tar': await filesTar(val) };
  return writeFiles(await temporaryFolder(t), files);
}

test('shards are read by name, samples in their order; the split is a word of the file, else of the folder', async (t) => {
  const sample = async (key: string, label = '0') => filesTar({ [`${key}.jpg`]: key, [`${key}.cls`]: label });
  const dir = await writeFiles(await temporaryFolder(t), {
    'imagenet-train-000010.tar': await sample('b', '1'),
    'imagenet-train-000002.tar': await filesTar({ 'z.jpg': 'z', 'z.cls': ' 0\n', 'a.png': 'a', 'a.cls': '0' }),
    'imagenet1k-validation-00.tar': await sample('v'),
    'train/000.tar': await sample('in-folder'),
    'train/VAL_7.tar': await sample('by-file'),
    'extra.tar': await sample('of no split'),
    'trainer.tar': await sample('of no split'),
    'train_val.tar': await sample('of two splits'),
    'train/000.idx': 'not a tar',
  });
  const { layout, sources, classes, strays } = await scanned(dir);
  assert.equal(layout, 'WebDataset');
  assert.deepEqual(
    sources.map(({ path, label, file }) => [path, label, file]),
    [
      ['train/00000/z.jpg', 0, 'imagenet-train-000002.tar'],
      ['train/00000/a.png', 0, 'imagenet-train-000002.tar'],
      ['train/00001/b.jpg', 1, 'imagenet-train-000010.tar'],
      ['train/00000/in-folder.jpg', 0, 'train/000.tar'],
      ['val/00000/v.jpg', 0, 'imagenet1k-validation-00.tar'],
      ['val/00000/by-file.jpg', 0, 'train/VAL_7.tar'],
    ],
  );
  assert.deepEqual(classes, [
    { index: 0, wnid: '00000' },
    { index: 1, wnid: '00001' },
  ]);
  assert.deepEqual(strays, { count: 3, first: ['extra.tar', 'train_val.tar', 'trainer.tar'] });
});

test('labels come from .cls or .json under any of its names; wnids from .json, classes.tsv or the number', async (t) => {
  const dir = await shards(t, {
    'a.jpg': '',
    'a.json': '{"label":0,"wnid":"n01440764"}',
    'b.webp': '',
    'b.json': '{"cls":"1","synset":"n01443537","class":"goldfish","filename":"b.JPEG"}',
    'c.JPEG': '',
    'c.json': '{"class":2,"wnid":"n01484850"}',
    'd.jpeg': '',
    'd.cls': '1',
    'd.json': '{"label":"goldfish","caption":"a goldfish"}',
  });
  const { sources, classes } = await scanned(dir);
  assert.deepEqual(
    sources.map(({ path, label }) => [path, label]),
    [
      ['train/n01440764/a.jpg', 0],
      ['train/n01443537/b.webp', 1],
      ['train/n01484850/c.JPEG', 2],
      ['train/n01443537/d.jpeg', 1],
      ['val/n01440764/v.jpg', 0],
    ],
  );
  assert.equal(classes[0]?.name, 'tench, Tinca tinca');
  const numbered = await shards(t, { 'a.jpg': '', 'a.cls': '1' });
  await writeFiles(numbered, { 'classes.tsv': 'wnid\tname\nant\tAnt\nbee\tBee\n' });
  const named = await scanned(numbered);
  assert.deepEqual(
    named.sources.map(({ path }) => path),
    ['train/bee/a.jpg', 'val/ant/v.jpg'],
  );
  assert.deepEqual(named.classes, [
    { index: 0, wnid: 'ant', name: 'Ant' },
    { index: 1, wnid: 'bee', name: 'Bee' },
  ]);
  assert.deepEqual(named.notices, ['1 of 2 classes have no sample in train']);
});

test('keys end at the first dot of the base name; metadata, other suffixes and hidden files are left out', async (t) => {
  const dir = await shards(t, {
    '__meta__.json': '{"no":"sample"}',
    'v1.0/train/00000/p.1/k.seg.png': 'a mask',
    'v1.0/train/00000/p.1/k.jpg': 'the image',
    'v1.0/train/00000/p.1/._k.jpg': 'of macOS',
    'v1.0/train/00000/p.1/k.cls': '0',
    'v1.0/train/00000/p.1/k.txt': 'a caption',
    README: 'no key',
    'train/00000/q.jpg': '',
    'train/00000/q.cls': '0',
  });
  const { sources, strays } = await scanned(dir);
  assert.deepEqual(
    sources.map(({ path, bytes }) => [path, bytes]),
    [
      ['train/00000/v1.0/train/00000/p.1/k.jpg', 9],
      ['train/00000/q.jpg', 0],
      ['val/00000/v.jpg', 1],
    ],
  );
  assert.deepEqual(strays, { count: 1, first: ['x-train-0.tar/README'] });
});

test('a sample that is not whole or not clear is refused with shard, key and byte', async (t) => {
  const cases: [Record<string, string>, string, ...string[]][] = [
    [{ 'a.cls': '0' }, 'incomplete-sample', "'a' at byte 0", 'no images (.cls)'],
    [{ 'a.jpg': '', 'a.txt': 'x' }, 'incomplete-sample', 'no label (.jpg, .txt)'],
    [{ 'a.jpg': '', 'a.png': '', 'a.cls': '0' }, 'incomplete-sample', '2 images'],
    [{ 'a.jpg': '', 'b.jpg': '', 'a.cls': '0', 'b.cls': '0' }, 'incomplete-sample', "'a' at byte 0", 'no label'],
    [{ 'a.jpg': '', 'a.json': '{"label":"tench"}' }, 'incomplete-sample', 'no label'],
    [{ 'a.jpg': '', 'a.cls': '0', 'b.jpg': '', 'b.cls': 'one' }, 'bad-label', "'b' at byte 1536", "'one'"],
    [{ 'a.jpg': '', 'a.cls': '-1' }, 'bad-label', "'-1'"],
    [{ 'a.jpg': '', 'a.cls': '1'.repeat(65) }, 'bad-label', '65 bytes'],
    [{ 'a.jpg': '', 'a.json': '{' }, 'bad-label', 'no JSON'],
    [{ 'a.jpg': '', 'a.json': '[0]' }, 'bad-label', 'a JSON object'],
    [{ 'a.jpg': '', 'a.cls': '0', 'a.json': '{"label":1}' }, 'bad-label', 'label 0 in .cls, 1 in .json'],
    [{ 'a.jpg': '', 'a.JPG': '', 'a.cls': '0' }, 'duplicate-suffix', "'.jpg' of sample 'a' at byte 512"],
    [{ 'a.jpg': '', 'a.cls': '0', 'b.jpg': '', 'b.cls': '100000' }, 'bad-label', "'b' at byte"],
    [
      { 'a.jpg': '', 'a.json': '{"label":0,"wnid":"x"}', 'b.jpg': '', 'b.json': '{"label":0,"wnid":"y"}' },
      'label-conflict',
      "'b' at byte 1536",
    ],
    [
      { 'a.jpg': '', 'a.json': '{"label":0,"wnid":"y"}', 'b.jpg': '', 'b.json': '{"label":1,"wnid":"x"}' },
      'label-order',
      "'b' at byte 1536",
    ],
  ];
  for (const [train, code, ...texts] of cases)
    await assert.rejects(
      scanned(await shards(t, train)),
      fault(code, 'x-train-0.tar', ...texts),
      JSON.stringify(train),
    );
  const unknown = await shards(t, { 'a.jpg': '', 'a.cls': '0' }, { 'v.jpg': '', 'v.cls': '1' });
  await assert.rejects(scanned(unknown), fault('unknown-class', 'x-val-0.tar', "'v' at byte 0", 'label 1'));
});

test('shards of one split only, without samples, or cut off are refused', async (t) => {
  const only = await writeFiles(await temporaryFolder(t), { 'x-train-0.tar': await filesTar({}) });
  await assert.rejects(scanned(only), fault('no-split', 'no shard of val'));
  await assert.rejects(scanned(await shards(t, {})), fault('no-classes'));
  await assert.rejects(scanned(await shards(t, { 'a.jpg': '', 'a.cls': '0' }, {})), fault('no-photos', 'val'));
  const whole = await tarOf([{ name: 'a.jpg', data: 'x'.repeat(2000) }]);
  const cut = await writeFiles(only, { 'x-train-0.tar': whole.subarray(0, 1024), 'x-val-0.tar': whole });
  await assert.rejects(scanned(cut), fault('tar-truncated', 'x-train-0.tar', 'byte 0'));
});

test('what we packed can be read in again', async (t) => {
  const { out, manifest } = await packed(t, await photos());
  const { layout, classes, counts, sources } = await scanned(join(out, '16'));
  assert.equal(layout, 'WebDataset');
  assert.deepEqual(counts, { train: 10, val: 3 });
  assert.deepEqual(classes, manifest.dataset.classes);
  assert.ok(sources.every(({ path, label }) => path.split('/')[1] === manifest.dataset.classes[label]?.wnid));
});

test('memory does not grow with the samples: 100,000 of them are listed where 100,000 kept would not fit', async (t) => {
  const dir = await temporaryFolder(t);
  const perShard = 1000;
  const members = Array.from({ length: perShard }, (_, i) => [
    headerBlock({ path: `${'k'.repeat(60)}${i}.jpg`, size: 0, type: 'File' }),
    headerBlock({ path: `${'k'.repeat(60)}${i}.cls`, size: 1, type: 'File' }),
    blocks(String(i % 10)),
  ]);
  const body = Buffer.concat(members.flat());
  for (const [name, times] of Object.entries({ 'train-0.tar': 100, 'val-0.tar': 1 })) {
    const file = await open(join(dir, name), 'w');
    for (let i = 0; i < times; i++) await file.write(body);
    await file.write(END);
    await file.close();
  }
  const child = fileURLToPath(new URL('scan-child.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ['--max-old-space-size=24', child, dir]);
  assert.deepEqual(JSON.parse(stdout), { train: 100_000, val: 1000 });
});
