import assert from 'node:assert/strict';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Files, writeFiles } from '../../preprocess/photos.ts';
import { temporaryFolder } from '../dataset.ts';
import { fault, filesTar, GROUND_TRUTH, originalTars, scanned, TRAIN, tarOf, trainTar, VAL } from './tars.ts';

const TRUTH = { 'ILSVRC2012_validation_ground_truth.txt': GROUND_TRUTH };

async function source(t: TestContext, changes: Files = {}): Promise<string> {
  return writeFiles(await temporaryFolder(t), { ...(await originalTars()), ...changes });
}

test('both tars and a ground truth are needed', async (t) => {
  const { 'ILSVRC2012_img_val.tar': val, ...noVal } = await originalTars();
  const dir = await writeFiles(await temporaryFolder(t), noVal);
  await assert.rejects(scanned(dir), fault('no-split', 'ILSVRC2012_img_val.tar'));
  const { 'ILSVRC2012_devkit_t12.tar.gz': _, ...noKit } = await originalTars();
  const other = await writeFiles(await temporaryFolder(t), noKit);
  await assert.rejects(scanned(other), fault('no-val-labels', 'ILSVRC2012_devkit_t12.tar.gz'));
  assert.ok(val);
});

test('folders in the tars, dots before names and hidden files change nothing; a folder below the class stays', async (t) => {
  const inner = await tarOf([
    { name: './', type: 'directory' },
    { name: './._n01440764_1.JPEG', data: 'left by macOS' },
    { name: './n01440764_1.JPEG', data: 'a' },
    { name: './images/n01440764_2.JPEG', data: 'b' },
  ]);
  const whole = await filesTar({ 'n01484850/n01484850_1.JPEG': 'c', 'n01484850/n01484850_0.JPEG': 'd' });
  const dir = await source(t, {
    'ILSVRC2012_img_train.tar': await tarOf([
      { name: 'train/', type: 'directory' },
      { name: 'train/n01440764.tar', data: inner },
      { name: 'train/n01484850.tar', data: whole },
      { name: 'train/readme.txt', data: 'hello' },
    ]),
    'ILSVRC2012_img_val.tar': await filesTar(
      Object.fromEntries(Object.entries(VAL).map(([name, data]) => [`./val/${name}`, data])),
    ),
  });
  const { sources, strays } = await scanned(dir);
  assert.deepEqual(
    sources.map(({ path }) => path),
    [
      'train/n01440764/images/n01440764_2.JPEG',
      'train/n01440764/n01440764_1.JPEG',
      'train/n01484850/n01484850_0.JPEG',
      'train/n01484850/n01484850_1.JPEG',
      'val/n01440764/ILSVRC2012_val_00000002.JPEG',
      'val/n01440764/ILSVRC2012_val_00000003.JPEG',
      'val/n01484850/ILSVRC2012_val_00000001.JPEG',
    ],
  );
  assert.deepEqual(strays, { count: 1, first: ['ILSVRC2012_img_train.tar/train/readme.txt'] });
});

test('a train tar without classes, an empty class, a name twice and a deep folder are refused', async (t) => {
  const train = async (files: Files): Promise<string> =>
    source(t, { 'ILSVRC2012_img_train.tar': await filesTar(files), ...TRUTH });
  const shark = { 'n01484850.tar': await filesTar({ 's.JPEG': 's' }) };
  await assert.rejects(scanned(await train({ 'a.JPEG': 'a' })), fault('no-classes', 'ILSVRC2012_img_train.tar'));
  await assert.rejects(
    scanned(await train({ ...shark, 'n01440764.tar': await filesTar({}) })),
    fault('empty-class', 'n01440764.tar'),
  );
  const twice = await tarOf([
    { name: 'a.JPEG', data: 'old' },
    { name: 'a.JPEG', data: 'new' },
  ]);
  await assert.rejects(
    scanned(await train({ ...shark, 'n01440764.tar': twice })),
    fault('duplicate-photo', 'train/n01440764/a.JPEG', 'at byte'),
  );
  const classTwice = { ...shark, 'n01440764.tar': await filesTar({ 'a.JPEG': '' }), './n01440764.tar': 'x' };
  await assert.rejects(scanned(await train(classTwice)), fault('duplicate-photo', 'a second tar of class n01440764'));
  const deep = await filesTar({ 'a/b/c.JPEG': 'c' });
  await assert.rejects(scanned(await train({ ...shark, 'n01440764.tar': deep })), fault('too-deep', 'a/b/c.JPEG'));
});

test('damage in a tar of a tar is told with the byte in the outer file', async (t) => {
  const data = await trainTar();
  const at = data.indexOf('n01440764_10.JPEG');
  const damaged = Buffer.from(data);
  damaged[at] = 0x78;
  const dir = await source(t, { 'ILSVRC2012_img_train.tar': damaged });
  await assert.rejects(scanned(dir), fault('tar-damaged', 'ILSVRC2012_img_train.tar', `at byte ${at}:`));
  const cut = await source(t);
  await truncate(join(cut, 'ILSVRC2012_img_train.tar'), 4096);
  await assert.rejects(scanned(cut), fault('tar-truncated', 'ILSVRC2012_img_train.tar'));
});

test('val is compared with its table before train is listed', async (t) => {
  const { 'ILSVRC2012_val_00000002.JPEG': _, ...incomplete } = VAL;
  const dir = await source(t, { 'ILSVRC2012_img_val.tar': await filesTar(incomplete) });
  await assert.rejects(scanned(dir), fault('val-without-file', 'ILSVRC2012_val_00000002'));
  const more = await source(t, { 'ILSVRC2012_img_val.tar': await filesTar({ ...VAL, 'x.JPEG': '' }) });
  await assert.rejects(scanned(more), fault('val-without-label', 'x.JPEG'));
  const { 'n01484850/n01484850_1.JPEG': shark, ...noShark } = TRAIN;
  const unknown = await source(t, { 'ILSVRC2012_img_train.tar': await trainTar(noShark) });
  await assert.rejects(scanned(unknown), fault('unknown-class', 'n01484850'));
  assert.ok(shark);
});
