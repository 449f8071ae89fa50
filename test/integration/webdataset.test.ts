import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pack } from '#preprocess';
import { openSplit, parseBuckets, readManifest, ShardFiles, SPLITS } from '#shards';
import { cacheRoot, temporary, withLock } from '../../ops/setup/plain.ts';
import { requirement } from '../requirements.ts';
import { temporaryFolder } from '../shards/dataset.ts';

const PACKAGES = ['webdataset==1.0.2', 'pillow==13.0.0', 'numpy==2.4.6'];
const root = new URL('../../../test/', import.meta.url);
const photos = fileURLToPath(new URL('fixtures/photos', root));
const script = fileURLToPath(new URL('integration/read_shards.py', root));
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

/** The interpreter of a virtual environment in the cache, made once: aside, then renamed. */
async function pythonWithWebdataset(): Promise<string> {
  const cache = cacheRoot();
  const pins = createHash('sha256').update(PACKAGES.join(' ')).digest('hex').slice(0, 12);
  const home = join(cache, 'python-webdataset', pins);
  const python = (folder: string): string => join(folder, 'bin', 'python');
  await withLock(
    join(cache, `python-webdataset.${pins}.lock`),
    (pid) => process.stderr.write(`waiting for process ${pid}, which installs webdataset\n`),
    async () => {
      if (existsSync(home)) return;
      const aside = temporary(cache);
      try {
        await run('python3', ['-m', 'venv', aside]);
        await run(python(aside), ['-m', 'pip', 'install', '--quiet', '--only-binary=:all:', ...PACKAGES]);
        await mkdir(dirname(home), { recursive: true });
        await rename(aside, home);
      } finally {
        await rm(aside, { recursive: true, force: true });
      }
    },
  );
  return python(home);
}

test(
  "Python's webdataset reads every sample of the packed photos as our reader does",
  requirement('python'),
  async (t) => {
    let python: string;
    try {
      python = await pythonWithWebdataset();
    } catch (error) {
      const reason = (error as Error).message.trim().split('\n').at(-1);
      process.stderr.write(`SKIPPED: Python cannot install ${PACKAGES.join(', ')}: ${reason}\n`);
      t.skip(`Python cannot install webdataset: ${reason}`);
      return;
    }
    const out = join(await temporaryFolder(t), 'shards');
    await pack({
      source: photos,
      out,
      buckets: parseBuckets('48,128'),
      workers: 2,
      onError: 'fail',
      seed: 0,
      shardSamples: 32,
    });
    const manifest = await readManifest(out);
    const files = new ShardFiles(out);
    t.after(() => files.close());
    for (const split of SPLITS) {
      for (const { resolution, shards } of Object.values(manifest.splits[split].buckets)) {
        const index = await openSplit(out, manifest, split, resolution);
        const paths = shards.map(({ file }) => join(out, file));
        const { stdout } = await run(python, [script, ...paths], { maxBuffer: 1 << 26 });
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
