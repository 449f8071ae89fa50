import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { canonicalJson, datasetSha256, Fault, readManifest } from '#shards';
import { sampleOf, temporaryFolder, writeDataset } from './dataset.ts';

test('a manifest reads back as it was written, in canonical bytes with one newline', async (t) => {
  const dir = await temporaryFolder(t);
  const manifest = await writeDataset(dir, [[sampleOf(0, Buffer.from('x'))]]);
  assert.deepEqual(await readManifest(dir), manifest);
  assert.equal(await readFile(join(dir, 'manifest.json'), 'utf8'), `${canonicalJson(manifest)}\n`);
});

test("the dataset's hash covers everything but itself", async (t) => {
  const dir = await temporaryFolder(t);
  const manifest = await writeDataset(dir, [[sampleOf(0, Buffer.from('x'))]]);
  const { sha256 } = manifest.dataset;
  assert.equal(datasetSha256({ ...manifest, dataset: { ...manifest.dataset, sha256: 'other' } } as never), sha256);
  const other = '1'.repeat(64);
  assert.notEqual(datasetSha256({ ...manifest, seed: 1 }), sha256);
  assert.notEqual(datasetSha256({ ...manifest, rejects: { ...manifest.rejects, sha256: other } }), sha256);
  const val = { ...manifest.splits.val, sourcesSha256: other };
  assert.notEqual(datasetSha256({ ...manifest, splits: { ...manifest.splits, val } }), sha256);
  assert.notEqual(datasetSha256({ ...manifest, dataset: { ...manifest.dataset, classes: [] } }), sha256);
});

test('a folder without a manifest names the command that makes one', async (t) => {
  const dir = await temporaryFolder(t);
  await assert.rejects(
    readManifest(dir),
    (error) => error instanceof Fault && error.code === 'no-shards' && error.remedy.includes('preprocess shard'),
  );
});

test('an edited, broken or foreign manifest is refused with the place', async (t) => {
  const dir = await temporaryFolder(t);
  const manifest = await writeDataset(dir, [[sampleOf(0, Buffer.from('x'))]]);
  for (const [text, place] of [
    ['{', 'JSON'],
    [canonicalJson({ ...manifest, seed: 3 }), 'dataset.sha256'],
    [canonicalJson({ ...manifest, format: 'medium-recipe/shards@1' }), 'at format'],
    [canonicalJson({ ...manifest, rejects: { count: 0, byCode: {} } }), 'at rejects.sha256'],
    [canonicalJson({ ...manifest, shardSamples: 0 }), 'at shardSamples'],
    [canonicalJson({ ...manifest, surplus: 1 }), 'surplus'],
  ] as const) {
    await writeFile(join(dir, 'manifest.json'), text);
    await assert.rejects(
      readManifest(dir),
      (error) => error instanceof Fault && error.code === 'manifest-damaged' && error.received.includes(place),
      place,
    );
  }
});
