import assert from 'node:assert/strict';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Fault, type Manifest, openSplit, type PackedSample, ShardFiles } from '#shards';
import { sampleOf, temporaryFolder, writeDataset } from './dataset.ts';

/** Shards of 3, 0, 1 and 2 samples: all of the second one's sources were rejected. */
async function dataset(t: TestContext): Promise<{ dir: string; manifest: Manifest; samples: PackedSample[] }> {
  const dir = await temporaryFolder(t);
  const sample = (position: number): PackedSample =>
    sampleOf(position, Buffer.from(`image ${position} `.repeat(position + 1)));
  const lists = [[0, 1, 3], [], [8], [12, 15]].map((positions) => positions.map(sample));
  return { dir, manifest: await writeDataset(dir, lists), samples: lists.flat() };
}

const fault = (code: string, text: string) => (error: unknown) =>
  error instanceof Fault && error.code === code && `${error.received} ${error.expected}`.includes(text);

test('every sample is found by its number in shard order, across an empty shard', async (t) => {
  const { dir, manifest, samples } = await dataset(t);
  const index = await openSplit(dir, manifest, 'train', 8);
  assert.equal(index.samples, 6);
  assert.deepEqual(index.shardSamples, [3, 0, 1, 2]);
  const files = new ShardFiles(dir);
  t.after(() => files.close());
  for (const [i, sample] of samples.entries()) {
    const location = structuredClone(index.locate(i));
    assert.deepEqual([location.label, location.width, location.height], [sample.label, sample.width, sample.height]);
    assert.deepEqual(Buffer.from(files.readSync(location)), sample.jpg);
  }
  assert.equal(index.locate(3).shard, '8/train-000002.tar');
  for (const wrong of [-1, 6, 0.5]) assert.throws(() => index.locate(wrong), RangeError);
});

test('bytes go to the beginning of the buffer that is given', async (t) => {
  const { dir, manifest, samples } = await dataset(t);
  const location = (await openSplit(dir, manifest, 'train', 8)).locate(1);
  const files = new ShardFiles(dir);
  t.after(() => files.close());
  const into = new Uint8Array(1000);
  const read = files.readSync(location, into);
  assert.equal(read.buffer, into.buffer);
  assert.deepEqual(Buffer.from(read), samples[1]?.jpg);
  assert.throws(() => files.readSync(location, new Uint8Array(location.bytes - 1)), RangeError);
});

test('more shards than may stay open are read in any order', async (t) => {
  const { dir, manifest, samples } = await dataset(t);
  const index = await openSplit(dir, manifest, 'train', 8);
  const files = new ShardFiles(dir, 2);
  t.after(() => files.close());
  for (const i of [0, 3, 5, 0, 5, 3, 1, 4, 0])
    assert.deepEqual(Buffer.from(files.readSync(index.locate(i))), samples[i]?.jpg);
});

test('a bucket that was not packed is named with those that were', async (t) => {
  const { dir, manifest } = await dataset(t);
  await assert.rejects(openSplit(dir, manifest, 'val', 96), fault('no-bucket', '8'));
});

test('a damaged or missing index is named', async (t) => {
  const { dir, manifest } = await dataset(t);
  const path = join(dir, '8/train-000003.index.safetensors');
  const bytes = await readFile(path);
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
  await writeFile(path, bytes);
  await assert.rejects(openSplit(dir, manifest, 'train', 8), fault('index-damaged', path));
  await rm(path);
  await assert.rejects(openSplit(dir, manifest, 'train', 8), fault('index-missing', path));
});

test('a shard that is too short or gone is named', async (t) => {
  const { dir, manifest } = await dataset(t);
  const location = (await openSplit(dir, manifest, 'train', 8)).locate(5);
  const path = join(dir, location.shard);
  await truncate(path, location.offset + 3);
  const files = new ShardFiles(dir);
  t.after(() => files.close());
  assert.throws(() => files.readSync(location), fault('shard-short', `${path}: 3 of ${location.bytes} bytes`));
  await rm(path);
  files.close();
  assert.throws(() => files.readSync(location), fault('shard-missing', path));
});
