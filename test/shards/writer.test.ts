import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BLOCK, canonicalJson, decodeIndex, ShardWriter, shardListing } from '#shards';
import { sampleOf, temporaryFolder, writeDataset } from './dataset.ts';

const golden = fileURLToPath(new URL('../../../test/golden/shard/', import.meta.url));
const FILES = ['train-000000.idx', 'train-000000.index.safetensors', 'train-000000.tar', 'train.json'];
/** As `sha256sum` writes and checks it. */
const SUMS = 'SHA256SUMS';

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
  assert.deepEqual((await readdir(join(dir, '128'))).sort(), FILES);
  const update = process.env['UPDATE_GOLDEN'] === '1';
  let sums = '';
  for (const file of FILES) {
    const written = await readFile(join(dir, '128', file));
    if (update) await writeFile(join(golden, file), written);
    assert.deepEqual(written, await readFile(join(golden, file)), file);
    sums += `${sha256Of(written).toString('hex')}  ${file}\n`;
  }
  if (update) await writeFile(join(golden, SUMS), sums);
  assert.equal(sums, await readFile(join(golden, SUMS), 'utf8'));
});

test("the index points at each sample's members and holds their hashes, and the image's size and place", async (t) => {
  const dir = await temporaryFolder(t);
  const samples = [5, 700, 0, 513].map((size, i) => sampleOf(2 * i, Buffer.alloc(size, i + 1)));
  await writeDataset(dir, [samples]);
  const tar = await readFile(join(dir, '8/train-000000.tar'));
  const index = decodeIndex(await readFile(join(dir, '8/train-000000.index.safetensors')));
  const blocks = (bytes: number): number => Math.ceil(bytes / BLOCK) * BLOCK;
  for (const [i, { jpg, ...info }] of samples.entries()) {
    const offset = index.offset[i] as number;
    assert.deepEqual(tar.subarray(offset, offset + (index.bytes[i] as number)), jpg);
    // Each member begins one block, its header, after the end of the one before.
    const cls = offset + blocks(jpg.length) + BLOCK;
    const clsText = Buffer.from(String(info.label));
    assert.deepEqual(tar.subarray(cls, cls + clsText.length), clsText);
    const json = cls + 2 * BLOCK;
    const jsonText = Buffer.from(canonicalJson(info));
    assert.deepEqual(tar.subarray(json, json + (index.jsonBytes[i] as number)), jsonText);
    const hashes = [index.sha256, index.clsSha256, index.jsonSha256].map((column) =>
      Buffer.from(column.subarray(32 * i, 32 * i + 32)),
    );
    assert.deepEqual(hashes, [jpg, clsText, jsonText].map(sha256Of));
    assert.deepEqual(
      [index.label[i], index.width[i], index.height[i], index.position[i]],
      [info.label, info.width, info.height, info.position],
    );
  }
});

function sha256Of(data: Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}
