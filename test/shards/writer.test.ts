import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decodeIndex, ShardWriter, shardListing } from '#shards';
import { sampleOf, temporaryFolder, writeDataset } from './dataset.ts';

const golden = fileURLToPath(new URL('../../../test/golden/shard/', import.meta.url));
const FILES = ['train-000000.tar', 'train-000000.idx', 'train-000000.index.safetensors', 'train.json'];

/** UPDATE_GOLDEN=1 writes the files anew: the format has then changed, which breaks whatever was packed before. */
test('the bytes of a shard and its indexes are the golden ones', async (t) => {
  const dir = await temporaryFolder(t);
  await mkdir(join(dir, '128'));
  const writer = await ShardWriter.create(dir, { resolution: 128, split: 'train', ordinal: 0 });
  // Position 1 was rejected.
  await writer.add({ ...sampleOf(0, await readFile(join(golden, 'a.jpg')), 1), width: 24, height: 16 });
  await writer.add({ ...sampleOf(2, await readFile(join(golden, 'b.jpg')), 0), width: 16, height: 16 });
  const entry = await writer.finish();
  await writeFile(join(dir, '128/train.json'), shardListing('train-128', [{ ...entry, file: 'train-000000.tar' }]));
  assert.deepEqual((await readdir(join(dir, '128'))).sort(), [...FILES].sort());
  for (const file of FILES) {
    const written = await readFile(join(dir, '128', file));
    if (process.env['UPDATE_GOLDEN'] === '1') await writeFile(join(golden, file), written);
    assert.deepEqual(written, await readFile(join(golden, file)), file);
  }
});

test('the index points at the JPEG of each sample and holds its hash, size and place', async (t) => {
  const dir = await temporaryFolder(t);
  const samples = [5, 700, 0, 513].map((size, i) => sampleOf(2 * i, Buffer.alloc(size, i + 1)));
  await writeDataset(dir, [samples]);
  const tar = await readFile(join(dir, '8/train-000000.tar'));
  const index = decodeIndex(await readFile(join(dir, '8/train-000000.index.safetensors')));
  for (const [i, sample] of samples.entries()) {
    const offset = index.offset[i] as number;
    assert.deepEqual(tar.subarray(offset, offset + (index.bytes[i] as number)), sample.jpg);
    assert.deepEqual(Buffer.from(index.sha256.subarray(32 * i, 32 * i + 32)), sample.sha256);
    assert.deepEqual(
      [index.label[i], index.width[i], index.height[i], index.position[i]],
      [sample.label, sample.width, sample.height, sample.position],
    );
  }
});
