import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PACK_DEFAULTS, pack } from '#preprocess';
import { Fault, openSplit, parseBuckets, readManifest, ShardFiles, SPLITS } from '#shards';
import { pythonWith, WEBDATASET } from '../../ops/bench/python.ts';
import { requirement } from '../requirements.ts';
import { temporaryFolder } from '../shards/dataset.ts';

const root = new URL('../../../test/', import.meta.url);
const photos = fileURLToPath(new URL('fixtures/photos', root));
const script = (name: string): string => fileURLToPath(new URL(`integration/${name}`, root));
const run = promisify(execFile);

interface PythonSample {
  readonly key: string;
  readonly fields: readonly string[];
  readonly cls: number;
  readonly json: Readonly<Record<string, unknown>>;
  readonly sha256: string;
  readonly offset: number;
  readonly bytes: number;
  readonly mode: string;
  readonly size: readonly [number, number];
}

/** The interpreter that has webdataset; skips aloud where it cannot be installed. */
async function webdatasetPython(t: TestContext): Promise<string | null> {
  try {
    return await pythonWith(WEBDATASET, (line) => process.stderr.write(`${line}\n`));
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    process.stderr.write(`SKIPPED: ${error.message}\n`);
    t.skip(error.message);
    return null;
  }
}

async function packPhotos(source: string, out: string): Promise<void> {
  const buckets = parseBuckets('48,128');
  await pack({ source, out, buckets, workers: 2, ...PACK_DEFAULTS, shardSamples: 32 });
}

test(
  "Python's webdataset reads every sample of the packed photos as our reader does",
  requirement('python'),
  async (t) => {
    const python = await webdatasetPython(t);
    if (python === null) return;
    const out = join(await temporaryFolder(t), 'shards');
    await packPhotos(photos, out);
    const manifest = await readManifest(out);
    const files = new ShardFiles(out);
    t.after(() => files.close());
    for (const split of SPLITS) {
      for (const { resolution, shards } of Object.values(manifest.splits[split].buckets)) {
        const index = await openSplit(out, manifest, split, resolution);
        const paths = shards.map(({ file }) => join(out, file));
        const { stdout }: { stdout: string } = await run(python, [script('read_shards.py'), ...paths], {
          maxBuffer: 1 << 26,
        });
        const samples = stdout
          .trimEnd()
          .split('\n')
          .map((line): PythonSample => JSON.parse(line));
        assert.equal(samples.length, split === 'train' ? 84 : 18);
        for (const [i, sample] of samples.entries()) {
          const location = index.locate(i);
          const { label, width, height, offset, bytes } = location;
          assert.deepEqual(sample.fields, ['cls', 'jpg', 'json']);
          assert.deepEqual([sample.cls, sample.size, sample.mode], [label, [width, height], 'RGB']);
          assert.deepEqual([sample.offset, sample.bytes], [offset, bytes]);
          assert.equal(createHash('sha256').update(files.readSync(location)).digest('hex'), sample.sha256);
          const { source, position, ...info } = sample.json;
          const { wnid } = manifest.dataset.classes[label] ?? {};
          assert.deepEqual(info, { key: sample.key, label, wnid, width, height });
          assert.equal(sample.key.slice(0, 8), String(position).padStart(8, '0'));
          assert.match(String(source), new RegExp(`^${split}/${wnid}/${sample.key.slice(9)}\\.JPEG$`));
        }
        assert.deepEqual(
          (await readdir(join(out, String(resolution)))).filter((name) => name.endsWith('.tar')).length,
          Object.values(manifest.splits).reduce(
            (sum, { buckets }) => sum + (buckets[resolution]?.shards.length ?? 0),
            0,
          ),
        );
      }
    }
  },
);

/** Label and hash of every JPEG of a packed set, in order, for each split and bucket. */
async function contentOf(out: string): Promise<{ wnids: string[]; samples: [string, number, string][] }> {
  const manifest = await readManifest(out);
  const files = new ShardFiles(out);
  const samples: [string, number, string][] = [];
  try {
    for (const split of SPLITS)
      for (const { resolution } of Object.values(manifest.splits[split].buckets)) {
        const index = await openSplit(out, manifest, split, resolution);
        for (let i = 0; i < index.samples; i++) {
          const location = index.locate(i);
          const sha256 = createHash('sha256').update(files.readSync(location)).digest('hex');
          samples.push([`${split} ${resolution}`, location.label, sha256]);
        }
      }
  } finally {
    files.close();
  }
  return { wnids: manifest.dataset.classes.map(({ wnid }) => wnid), samples };
}

test(
  "shards that Python's ShardWriter wrote are packed to the same samples as the class folders they are from",
  requirement('python'),
  async (t) => {
    const python = await webdatasetPython(t);
    if (python === null) return;
    const folder = await temporaryFolder(t);
    const [foreign, fromShards, fromFolders] = ['foreign', 'from-shards', 'from-folders'].map((name) =>
      join(folder, name),
    ) as [string, string, string];
    await mkdir(foreign);
    await run(python, [script('write_shards.py'), photos, foreign, '30']);
    assert.equal((await readdir(foreign)).length, 4);
    await packPhotos(foreign, fromShards);
    await packPhotos(photos, fromFolders);
    const content = await contentOf(fromShards);
    assert.equal(content.samples.length, 2 * (84 + 18));
    assert.deepEqual(content, await contentOf(fromFolders));
  },
);
