import assert from 'node:assert/strict';
import { mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { scanSource } from '../../../shards/sources/source.ts';
import { writeFiles } from '../../preprocess/photos.ts';
import { temporaryFolder } from '../dataset.ts';
import { fault, kaggle, scanned } from './tars.ts';

test('sources are sorted by class, then name; hidden files left out, one folder below a class entered, links followed, one that leads nowhere told', async (t) => {
  const dir = await temporaryFolder(t);
  await writeFiles(dir, {
    'train/b/2.jpg': '',
    'train/b/10.jpg': '',
    'train/b-c/x.jpg': '',
    'train/b/.hidden': '',
    'train/b/images/y.txt': '',
    'train/b/images-2.jpg': '',
    'val/b-c/v.jpg': '',
    'train/README': '',
    'classes.tsv': 'name\twnid\nBird\tb\nof another data set\tz\n',
    'elsewhere/real.jpg': '',
  });
  await symlink(join(dir, 'elsewhere/real.jpg'), join(dir, 'train/b/link.jpg'));
  await symlink(join(dir, 'nowhere'), join(dir, 'train/b/dangling.jpg'));
  const { classes, sources, strays } = await scanned(dir);
  assert.deepEqual(classes, [
    { index: 0, wnid: 'b', name: 'Bird' },
    { index: 1, wnid: 'b-c' },
  ]);
  const train = sources.filter(({ split }) => split === 'train');
  assert.deepEqual(
    train.map(({ path, label }) => [path, label]),
    [
      ['train/b/10.jpg', 0],
      ['train/b/2.jpg', 0],
      ['train/b/dangling.jpg', 0],
      ['train/b/images/y.txt', 0],
      ['train/b/images-2.jpg', 0],
      ['train/b/link.jpg', 0],
      ['train/b-c/x.jpg', 1],
    ],
  );
  assert.deepEqual(sources.slice(train.length), [
    { split: 'val', path: 'val/b-c/v.jpg', label: 1, file: 'val/b-c/v.jpg', offset: 0, bytes: -1 },
  ]);
  assert.deepEqual(strays, { count: 1, first: ['train/README'] });
});

test('a folder that is no data set is refused with what is missing', async (t) => {
  const dir = await temporaryFolder(t);
  await mkdir(join(dir, 'train'));
  await assert.rejects(scanned(dir), fault('no-split', join(dir, 'val')));
  await mkdir(join(dir, 'val'));
  await assert.rejects(scanned(dir), fault('no-classes', join(dir, 'train')));
  await mkdir(join(dir, 'train/dog'));
  await assert.rejects(scanned(dir), fault('empty-class', join(dir, 'train/dog')));
  await writeFiles(dir, { 'train/dog/1.jpg': '' });
  await assert.rejects(scanned(dir), fault('no-photos', 'val'));
  await mkdir(join(dir, 'val/cat'));
  await assert.rejects(scanned(dir), fault('unknown-class', 'val/cat'));
  await mkdir(join(dir, 'train/dog/a/b'), { recursive: true });
  await rm(join(dir, 'val/cat'), { recursive: true });
  await assert.rejects(scanned(dir), fault('too-deep', 'train/dog/a/b'));
});

test('strays are counted and a few of them named', async (t) => {
  const strays = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`train/notes-${i}.txt`, '']));
  const dir = await writeFiles(await temporaryFolder(t), { ...strays, 'train/a/1.jpg': '', 'val/a/1.jpg': '' });
  const found = (await scanned(dir)).strays;
  assert.equal(found.count, 9);
  assert.deepEqual(
    found.first,
    [0, 1, 2, 3, 4].map((i) => `train/notes-${i}.txt`),
  );
});

test('a flat val needs a table of its classes', async (t) => {
  const { 'LOC_val_solution.csv': _, ...files } = kaggle();
  const dir = await writeFiles(await temporaryFolder(t), files);
  await assert.rejects(scanned(dir), fault('no-val-labels', dir, 'LOC_val_solution.csv', 'devkit'));
});

test("class folders in Kaggle's val are taken as they are", async (t) => {
  const dir = await writeFiles(await temporaryFolder(t), {
    'ILSVRC/Data/CLS-LOC/train/a/1.jpg': '',
    'ILSVRC/Data/CLS-LOC/val/a/2.jpg': '',
  });
  const { layout, sources } = await scanned(dir);
  assert.equal(layout, 'Kaggle');
  assert.deepEqual(
    sources.map(({ path, file }) => [path, file]),
    [
      ['train/a/1.jpg', 'ILSVRC/Data/CLS-LOC/train/a/1.jpg'],
      ['val/a/2.jpg', 'ILSVRC/Data/CLS-LOC/val/a/2.jpg'],
    ],
  );
});

test('val alone: train is not walked, and need not be there', async (t) => {
  const dir = await temporaryFolder(t);
  await writeFiles(dir, { 'train/a/1.jpg': '', 'train/b/2.jpg': '', 'val/b/3.jpg': '', 'val/b/4.jpg': '' });
  const list = async () => {
    const paths: [path: string, label: number][] = [];
    const { classes, counts } = await scanSource(dir, (_, { path, label }) => paths.push([path, label]), ['val']);
    return { paths, wnids: classes.map(({ wnid }) => wnid), counts };
  };
  const paths = (label: number) => [
    ['val/b/3.jpg', label],
    ['val/b/4.jpg', label],
  ];
  assert.deepEqual(await list(), { paths: paths(1), wnids: ['a', 'b'], counts: { train: 0, val: 2 } });
  // A class without a photo in train is nobody's business here.
  await rm(join(dir, 'train/a/1.jpg'));
  assert.deepEqual((await list()).paths, paths(1));
  await rm(join(dir, 'train'), { recursive: true });
  assert.deepEqual(await list(), { paths: paths(0), wnids: ['b'], counts: { train: 0, val: 2 } });
});

test('a flat val alone has the classes of ImageNet', async (t) => {
  const dir = await temporaryFolder(t);
  await writeFiles(dir, {
    'val/ILSVRC2012_val_00000001.JPEG': '',
    'LOC_val_solution.csv': 'ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4\n',
  });
  const labels: number[] = [];
  const { classes } = await scanSource(dir, (_, { label }) => labels.push(label), ['val']);
  assert.deepEqual([classes.length, labels], [1000, [0]]);
});
