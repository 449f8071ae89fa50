import assert from 'node:assert/strict';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Files, jpeg, packed, treeOf, writeFiles } from '../../preprocess/photos.ts';
import { temporaryFolder } from '../dataset.ts';
import {
  classFolders,
  fault,
  GROUND_TRUTH,
  kaggle,
  originalTars,
  photosOf,
  SOLUTION,
  scanned,
  TRAIN,
  VAL,
  webDataset,
} from './tars.ts';

const EXPECTED = [
  ['train/n01440764/n01440764-b.JPEG', 0, 'tench b'],
  ['train/n01440764/n01440764_10.JPEG', 0, 'tench 10'],
  ['train/n01440764/n01440764_9.JPEG', 0, 'tench 9'],
  ['train/n01443537/n01443537_7.JPEG', 1, 'goldfish 7'],
  ['train/n01484850/n01484850_1.JPEG', 2, 'shark 1'],
  ['val/n01440764/ILSVRC2012_val_00000002.JPEG', 0, 'another tench'],
  ['val/n01440764/ILSVRC2012_val_00000003.JPEG', 0, 'a tench'],
  ['val/n01484850/ILSVRC2012_val_00000001.JPEG', 2, 'a shark'],
];

test('the same photos give the same list, classes and bytes in every layout', async (t) => {
  const dir = await temporaryFolder(t);
  const flat = (table: Record<string, string>) => ({
    ...Object.fromEntries(Object.entries(TRAIN).map(([path, data]) => [`train/${path}`, data])),
    ...Object.fromEntries(Object.entries(VAL).map(([path, data]) => [`val/${path}`, data])),
    ...table,
  });
  const sources = {
    'class folders': classFolders(),
    'class folders, flat val by ground truth': flat({ 'ILSVRC2012_validation_ground_truth.txt': GROUND_TRUTH }),
    "class folders, flat val by Kaggle's table": flat({ 'LOC_val_solution.csv': SOLUTION }),
    Kaggle: kaggle(),
    'ImageNet tars': await originalTars(),
    WebDataset: await webDataset(),
  };
  for (const [name, files] of Object.entries(sources)) {
    const source = await writeFiles(join(dir, name), files);
    assert.deepEqual(await photosOf(source), EXPECTED, name);
    const { layout, classes, counts, strays, notices } = await scanned(source);
    assert.equal(layout, name.split(',')[0]);
    assert.deepEqual(classes, [
      { index: 0, wnid: 'n01440764', name: 'tench, Tinca tinca' },
      { index: 1, wnid: 'n01443537', name: 'goldfish, Carassius auratus' },
      {
        index: 2,
        wnid: 'n01484850',
        name: 'great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias',
      },
    ]);
    assert.deepEqual([counts, strays, notices], [{ train: 5, val: 3 }, { count: 0, first: [] }, []], name);
  }
});

test('packed, class folders, Kaggle and the ImageNet tars of the same photos are one dataset, byte for byte', async (t) => {
  let shade = 0;
  const painted = async (files: Files): Promise<Files> =>
    Object.fromEntries(await Promise.all(Object.keys(files).map(async (path) => [path, await jpeg(60, 50, ++shade)])));
  const photos = { train: await painted(TRAIN), val: await painted(VAL) };
  const { out } = await packed(t, classFolders(photos));
  const tree = await treeOf(out);
  for (const files of [kaggle(photos), await originalTars(photos)])
    assert.deepEqual(await treeOf((await packed(t, files)).out), tree);
});

test("Kaggle's archive is understood from any of its folders down to CLS-LOC", async (t) => {
  const dir = await writeFiles(await temporaryFolder(t), kaggle());
  for (const inside of ['ILSVRC', 'ILSVRC/Data/CLS-LOC']) {
    const source = join(dir, inside);
    assert.deepEqual(await photosOf(source), EXPECTED, inside);
    assert.equal((await scanned(source)).layout, 'Kaggle');
  }
});

test('a folder of no layout is refused with the layouts that are understood', async (t) => {
  const dir = await temporaryFolder(t);
  await assert.rejects(scanned(dir), fault('unknown-layout', 'nothing', 'LOC_val_solution.csv', 'WebDataset'));
  await writeFiles(dir, { 'photos/1.jpg': '', 'any.tar': '' });
  await assert.rejects(scanned(dir), fault('unknown-layout', 'any.tar, photos'));
  await assert.rejects(scanned(join(dir, 'none')), fault('no-source', join(dir, 'none'), 'ENOENT'));
  await assert.rejects(scanned(join(dir, 'any.tar')), fault('no-source', 'is not a folder'));
});

test('where several layouts fit, the unpacked one is read and the others are told of', async (t) => {
  const dir = await writeFiles(await temporaryFolder(t), { ...classFolders(), ...(await originalTars()) });
  const { layout, notices } = await scanned(dir);
  assert.equal(layout, 'class folders');
  assert.equal(notices.length, 1);
  assert.match(notices[0] ?? '', /ImageNet tars/);
});

test('one unpacked split does not hide the tars of both', async (t) => {
  const files = { ...(await originalTars()), 'val/n01440764/ILSVRC2012_val_00000002.JPEG': 'x' };
  const dir = await writeFiles(await temporaryFolder(t), files);
  const { layout, notices } = await scanned(dir);
  assert.equal(layout, 'ImageNet tars');
  assert.match(notices.join(), /class folders/);
});

test('a split without photos is refused', async (t) => {
  const dir = await writeFiles(await temporaryFolder(t), { 'train/a/1.jpg': '' });
  await mkdir(join(dir, 'val/a'), { recursive: true });
  await assert.rejects(scanned(dir), fault('no-photos', 'val'));
});

test('every error has its line in the card, and no other', async () => {
  const room = fileURLToPath(new URL('../../../../shards/sources', import.meta.url));
  const files = (await readdir(room)).filter((name) => name.endsWith('.ts'));
  const code = (await Promise.all(files.map((name) => readFile(join(room, name), 'utf8')))).join('');
  const thrown = [...code.matchAll(/(?:code: |#fault\(\s*)'([a-z-]+)'/g)].map(([, found]) => found);
  const table = (await readFile(join(room, 'README.md'), 'utf8')).split('## Errors')[1] ?? '';
  const told = [...table.matchAll(/^\| (`[^|]*)\|/gm)].flatMap(([, cell]) => [
    ...(cell ?? '').matchAll(/`([a-z-]+)`/g),
  ]);
  assert.deepEqual(told.map(([, found]) => found).sort(), [...new Set(thrown)].sort());
});
