import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { labelFlatVal, readValLabels } from '../../../shards/sources/val-labels.ts';
import { writeFiles } from '../../preprocess/photos.ts';
import { temporaryFolder } from '../dataset.ts';
import { fault, filesTar, GROUND_TRUTH, SOLUTION, VAL_WNIDS } from './tars.ts';

const TRUTH = 'ILSVRC2012_validation_ground_truth.txt';
const STEMS = [1, 2, 3].map((i) => `ILSVRC2012_val_0000000${i}`);

test('the ground truth is found beside the photos, in the development kit, and in its archive', async (t) => {
  const dir = await temporaryFolder(t);
  const kit = await filesTar({ [`ILSVRC2012_devkit_t12/data/${TRUTH}`]: GROUND_TRUTH });
  const places = {
    beside: { [TRUTH]: GROUND_TRUTH },
    kit: { [`ILSVRC2012_devkit_t12/data/${TRUTH}`]: GROUND_TRUTH.replaceAll('\n', '\r\n') },
    archive: { 'ILSVRC2012_devkit_t12.tar.gz': gzipSync(kit) },
    kaggle: { 'LOC_val_solution.csv': SOLUTION },
  };
  for (const [name, files] of Object.entries(places)) {
    const folder = await writeFiles(join(dir, name), files);
    const { file, wnids } = await readValLabels([join(dir, 'nowhere'), folder]);
    assert.deepEqual(
      STEMS.map((stem) => wnids.get(stem)),
      VAL_WNIDS,
      name,
    );
    assert.equal(wnids.size, 3);
    assert.ok(file.startsWith(folder));
  }
});

test('a table that is damaged is refused with its line', async (t) => {
  const dir = await temporaryFolder(t);
  const refused = async (name: string, data: string | Buffer, code: string, ...texts: string[]) => {
    const folder = await writeFiles(join(dir, String(Math.random())), { [name]: data });
    await assert.rejects(readValLabels([folder]), fault(code, ...texts));
  };
  await refused(TRUTH, '442\n1001\n', 'bad-val-labels', 'line 2', '1001', '1 to 1000');
  await refused(TRUTH, '442\n\n449\n', 'bad-val-labels', 'line 2');
  await refused('LOC_val_solution.csv', 'id,label\n', 'bad-val-labels', 'line 1', 'ImageId,PredictionString');
  await refused('LOC_val_solution.csv', `${SOLUTION}ILSVRC2012_val_9\n`, 'bad-val-labels', 'line 5');
  await refused('LOC_val_solution.csv', `${SOLUTION}${SOLUTION.split('\n')[2]}\n`, 'bad-val-labels', 'has another');
  const kit = gzipSync(await filesTar({ 'ILSVRC2012_devkit_t12/readme.txt': 'x' }));
  await refused('ILSVRC2012_devkit_t12.tar.gz', kit, 'no-val-labels', TRUTH);
  const truncated = gzipSync(await filesTar({ [`a/data/${TRUTH}`]: 'x'.repeat(5000) })).subarray(0, 60);
  await refused('ILSVRC2012_devkit_t12.tar.gz', truncated, 'source-unreadable', 'ILSVRC2012_devkit_t12.tar.gz');
});

test('a photo without a row, a row without a photo, an unknown class and a name twice are refused', async (t) => {
  const dir = await temporaryFolder(t);
  await writeFile(join(dir, 'LOC_val_solution.csv'), SOLUTION);
  const table = await readValLabels([dir]);
  const photos = STEMS.map((stem) => ({ name: `${stem}.JPEG`, file: `val/${stem}.JPEG`, offset: 0, bytes: -1 }));
  const labels = new Map([
    ['n01440764', 0],
    ['n01484850', 1],
  ]);
  const other = { name: 'notes.txt', file: 'val/notes.txt', offset: 0, bytes: -1 };
  assert.deepEqual(
    labelFlatVal(photos, table, labels).map(({ path }) => path),
    [
      'val/n01440764/ILSVRC2012_val_00000002.JPEG',
      'val/n01440764/ILSVRC2012_val_00000003.JPEG',
      'val/n01484850/ILSVRC2012_val_00000001.JPEG',
    ],
  );
  assert.throws(() => labelFlatVal([...photos, other], table, labels), fault('val-without-label', 'val/notes.txt'));
  const inTar = { ...other, file: 'val.tar', offset: 512, bytes: 3 };
  assert.throws(() => labelFlatVal([inTar], table, labels), fault('val-without-label', 'val.tar: notes.txt'));
  assert.throws(
    () => labelFlatVal(photos.slice(1), table, labels),
    fault('val-without-file', 'ILSVRC2012_val_00000001', '1 of 3'),
  );
  assert.throws(() => labelFlatVal(photos, table, new Map([['n01440764', 0]])), fault('unknown-class', 'n01484850'));
  const twice = { ...other, name: `${STEMS[0]}.png` };
  assert.throws(() => labelFlatVal([...photos, twice], table, labels), fault('duplicate-photo', `${STEMS[0]}.png`));
});
