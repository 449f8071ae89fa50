import assert from 'node:assert/strict';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fault } from '#shards';
import { scan } from '../../preprocess/scan.ts';
import { temporaryFolder } from '../shards/dataset.ts';
import { writeFiles } from './photos.ts';

const fault = (code: string, text: string) => (error: unknown) =>
  error instanceof Fault && error.code === code && error.message.includes(text);

test('sources are sorted by path, hidden files left out, one folder below a class entered, links followed', async (t) => {
  const dir = await temporaryFolder(t);
  await writeFiles(dir, {
    'train/b/2.jpg': '',
    'train/b/10.jpg': '',
    'train/b-c/x.jpg': '',
    'train/b/.hidden': '',
    'train/b/images/y.txt': '',
    'val/b-c/v.jpg': '',
    'train/README': '',
    'classes.tsv': 'name\twnid\nBird\tb\nof another data set\tz\n',
    'elsewhere/real.jpg': '',
  });
  await symlink(join(dir, 'elsewhere/real.jpg'), join(dir, 'train/b/link.jpg'));
  await symlink(join(dir, 'nowhere'), join(dir, 'train/b/dangling.jpg'));
  const { classes, sources, strays } = await scan(dir);
  assert.deepEqual(classes, [
    { index: 0, wnid: 'b', name: 'Bird' },
    { index: 1, wnid: 'b-c' },
  ]);
  assert.deepEqual(sources.train.paths, [
    'train/b-c/x.jpg',
    'train/b/10.jpg',
    'train/b/2.jpg',
    'train/b/images/y.txt',
    'train/b/link.jpg',
  ]);
  assert.deepEqual([...sources.train.labels], [1, 0, 0, 0, 0]);
  assert.deepEqual([sources.val.paths, [...sources.val.labels]], [['val/b-c/v.jpg'], [1]]);
  assert.deepEqual(strays, ['train/README']);
});

test('a folder that is no data set is refused with what is missing', async (t) => {
  const dir = await temporaryFolder(t);
  await assert.rejects(scan(join(dir, 'none')), fault('no-source', join(dir, 'none')));
  await writeFiles(dir, { 'a-file': '' });
  await assert.rejects(scan(join(dir, 'a-file')), fault('no-source', 'not a folder'));
  await assert.rejects(scan(dir), fault('no-split', join(dir, 'train')));
  await mkdir(join(dir, 'train'));
  await assert.rejects(scan(dir), fault('no-classes', join(dir, 'train')));
  await mkdir(join(dir, 'train/dog'));
  await assert.rejects(scan(dir), fault('empty-class', join(dir, 'train/dog')));
  await writeFiles(dir, { 'train/dog/1.jpg': '' });
  await assert.rejects(scan(dir), fault('no-split', join(dir, 'val')));
  await mkdir(join(dir, 'val/dog'), { recursive: true });
  await assert.rejects(scan(dir), fault('no-photos', join(dir, 'val')));
  await mkdir(join(dir, 'val/cat'));
  await assert.rejects(scan(dir), fault('unknown-class', 'val/cat'));
  await mkdir(join(dir, 'train/dog/a/b'), { recursive: true });
  await assert.rejects(scan(dir), fault('too-deep', 'train/dog/a/b'));
});

test('a classes.tsv without its two columns is refused', async (t) => {
  const dir = await temporaryFolder(t);
  await writeFiles(dir, { 'train/a/1.jpg': '', 'val/a/1.jpg': '', 'classes.tsv': 'id\tlabel\na\tA\n' });
  await assert.rejects(scan(dir), fault('bad-classes-tsv', "'id', 'label'"));
});
