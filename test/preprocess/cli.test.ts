import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readManifest } from '#shards';
import { temporaryFolder } from '../shards/dataset.ts';
import { photos, writeFiles } from './photos.ts';

const cli = fileURLToPath(new URL('../../preprocess/cli.js', import.meta.url));
const SMALL = ['--buckets', '16,32', '--shard-samples', '4'];

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function started(t: TestContext, args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
  return { child, ended };
}

const run = (t: TestContext, ...args: string[]): Promise<Ended> => started(t, args).ended;

test('--json ends with one object that agrees with the manifest; more workers than threads give the same', async (t) => {
  const dir = await temporaryFolder(t);
  const source = await writeFiles(join(dir, 'source'), await photos());
  const hashes = [];
  for (const workers of ['1', '6']) {
    const out = join(dir, `out-${workers}`);
    const { code, stdout, stderr } = await run(
      t,
      'shard',
      '--source',
      source,
      '--out',
      out,
      ...SMALL,
      '--workers',
      workers,
      '--json',
    );
    assert.equal(code, 0, stderr);
    assert.match(stderr, /val 13\/13 images, [\d.]+ images\/s, [\d.]+ MB\/s, 0 rejects\n/);
    const { seconds, bytes, datasetSha256, ...rest } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
    const manifest = await readManifest(out);
    assert.deepEqual(rest, { out, samples: 13, shards: 8, rejects: 0 });
    assert.equal(datasetSha256, manifest.dataset.sha256);
    const buckets = Object.values(manifest.splits).flatMap((split) => Object.values(split.buckets));
    assert.equal(
      bytes,
      buckets.reduce((sum, bucket) => sum + bucket.bytes, 0),
    );
    assert.ok(seconds > 0);
    hashes.push(datasetSha256);
  }
  assert.equal(hashes[0], hashes[1]);
});

test('a failure is one line with exit code 1 and leaves nothing; with skip the rest is packed', async (t) => {
  const dir = await temporaryFolder(t);
  const source = await writeFiles(join(dir, 'source'), { ...(await photos()), 'train/cat/notes.JPEG': 'some text' });
  const args = ['shard', '--source', source, '--out', join(dir, 'out'), ...SMALL];
  const failed = await run(t, ...args, '--json');
  assert.equal(failed.code, 1);
  const errors = failed.stderr.trimEnd().split('\n');
  assert.equal(errors.length, 1, failed.stderr);
  assert.match(
    errors[0] ?? '',
    /^error not-an-image: .*train\/cat\/notes\.JPEG is no image: .*text; expected .*--on-error skip/,
  );
  assert.equal(JSON.parse(failed.stdout).error.code, 'not-an-image');
  assert.deepEqual(await readdir(dir), ['source']);
  const skipped = await run(t, ...args, '--on-error', 'skip');
  assert.equal(skipped.code, 0, skipped.stderr);
  assert.match(skipped.stdout, /1 rejects/);
  assert.equal((await readManifest(join(dir, 'out'))).rejects.count, 1);
  const taken = await run(t, ...args, '--on-error', 'skip');
  assert.deepEqual([taken.code, taken.stdout], [1, '']);
  assert.match(taken.stderr, /^error target-exists: [^\n]*\n$/);
});

test('a missing source is a failure, wrong flags are wrong usage', async (t) => {
  const dir = await temporaryFolder(t);
  const out = join(dir, 'out');
  const missing = await run(t, 'shard', '--source', join(dir, 'none'), '--out', out);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /^error no-source: [^\n]*\n$/);
  for (const args of [
    ['shard', '--out', out],
    ['shard', '--source', dir, '--out', out, '--buckets', '12x'],
    ['shard', '--source', dir, '--out', out, '--workers', '0'],
    ['shard', '--source', dir, '--out', out, '--seed', '4294967296'],
    ['shard', '--source', dir, '--out', out, '--on-error', 'maybe'],
    ['shard', '--source', dir, '--out', out, '--nonsense'],
    ['nonsense'],
  ]) {
    const { code, stderr } = await run(t, ...args);
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`);
    assert.doesNotMatch(stderr, /\n\s+at /);
  }
  assert.deepEqual(await readdir(dir), []);
});

test('an interrupted run says so and leaves nothing', async (t) => {
  const dir = await temporaryFolder(t);
  const photo = Object.entries(await photos());
  const many = Object.fromEntries(
    Array.from({ length: 1500 }, (_, i) => {
      const [path, data] = photo[i % photo.length] as [string, Buffer];
      return [path.replace(/\.JPEG$/, `_${i}.JPEG`), data];
    }),
  );
  const source = await writeFiles(join(dir, 'source'), many);
  const { child, ended } = started(t, [
    'shard',
    '--source',
    source,
    '--out',
    join(dir, 'parent/out'),
    '--workers',
    '1',
  ]);
  // The folder appears before the first of 1500 photos is read.
  while (!existsSync(join(dir, 'parent/.out.partial'))) {
    assert.equal(child.exitCode, null);
    await wait(5);
  }
  child.kill('SIGINT');
  const { code, stderr } = await ended;
  assert.equal(code, 1);
  assert.match(stderr, /error interrupted: SIGINT; /);
  assert.deepEqual(await readdir(dir), ['source']);
});
