import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { run } from '../../commands.ts';
import { temporaryFolder } from '../../shards/dataset.ts';
import { sealedDataset } from '../verify/sealed.ts';

test("'preprocess inspect' prints the table, draws the bucket that is asked for and gives it all as JSON", async (t) => {
  const dir = await temporaryFolder(t);
  const { dataset } = await sealedDataset(dir);
  const table = await run('preprocess', ['inspect', dir]);
  assert.equal(table.code, 0, table.stderr);
  assert.ok(table.stdout.startsWith(`dataset  ${dataset.sha256}\n`));
  assert.match(table.stdout, /^train +16 +20 +3 +5 /m);

  const image = join(await temporaryFolder(t), 'sheet.png');
  const drawn = await run('preprocess', [
    'inspect',
    dir,
    '--image',
    image,
    '--split',
    'val',
    '--resolution',
    '16',
    '--json',
  ]);
  assert.equal(drawn.code, 0, drawn.stderr);
  const result = JSON.parse(drawn.stdout.trim().split('\n').at(-1) ?? '');
  assert.deepEqual([result.datasetSha256, result.image, result.tiles], [dataset.sha256, image, 2]);
  assert.equal((await sharp(image).metadata()).format, 'png');

  const nowhere = await run('preprocess', ['inspect', dir, '--image', join(dir, 'no/folder.png')]);
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /image-not-written/);
  assert.equal((await run('preprocess', ['inspect', dir, '--split', 'test'])).code, 2);
});
