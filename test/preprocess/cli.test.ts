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
import { manyPhotos, photos, treeOf, writeFiles } from './photos.ts';

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

/** Waits for a file that a running command makes. */
async function appears(child: ChildProcess, path: string): Promise<void> {
  while (!existsSync(path)) {
    assert.equal(child.exitCode, null);
    await wait(5);
  }
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
    assert.match(stderr, /\n13\/13 images, [\d.]+ images\/s, [\d.]+ MB\/s, ETA 0 s, 0 rejects\n/);
    assert.match(
      stderr,
      /^note: class folders: 2 classes, 10 train and 3 val sources; 4 shards a bucket; needs about /,
    );
    const { seconds, bytes, viaTurbo, viaSharp, datasetSha256, ...rest } = JSON.parse(
      stdout.trimEnd().split('\n').at(-1) ?? '',
    );
    const manifest = await readManifest(out);
    assert.deepEqual(rest, { out, samples: 13, shards: 8, rejects: 0, counts: { train: 10, val: 3 } });
    assert.equal(datasetSha256, manifest.dataset.sha256);
    const buckets = Object.values(manifest.splits).flatMap((split) => Object.values(split.buckets));
    assert.equal(
      bytes,
      buckets.reduce((sum, bucket) => sum + bucket.bytes, 0),
    );
    assert.ok(seconds > 0);
    assert.equal(viaTurbo, manifest.splits.train.viaTurbo + manifest.splits.val.viaTurbo);
    assert.equal(viaSharp, manifest.splits.train.viaSharp + manifest.splits.val.viaSharp);
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
  const errors = failed.stderr
    .trimEnd()
    .split('\n')
    .filter((line) => !/^note: |images\/s/.test(line));
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
    ['shard', '--source', dir, '--out', out, '--max-rejects', '3'],
    ['shard', '--source', dir, '--out', out, '--part', '3/2'],
    ['shard', '--source', dir, '--out', out, '--part', '0/2'],
    ['shard', '--source', dir, '--out', out, '--quality', '101'],
    ['shard', '--source', dir, '--out', out, '--timeout', '2200000'],
    ['merge', '--out', out],
    ['shard', '--source', dir, '--out', out, '--nonsense'],
    ['nonsense'],
  ]) {
    const { code, stderr } = await run(t, ...args);
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`);
    assert.doesNotMatch(stderr, /\n\s+at /);
    const { stdout } = await run(t, ...args, '--json');
    assert.equal(JSON.parse(stdout).error.exit, 2, args.join(' '));
  }
  assert.deepEqual(await readdir(dir), []);
});

test('an interrupted run says so; finished shards stay, and --resume makes the dataset of an uninterrupted run', async (t) => {
  const dir = await temporaryFolder(t);
  const source = await writeFiles(join(dir, 'source'), manyPhotos(await photos(), 600));
  const args = [
    'shard',
    '--source',
    source,
    '--out',
    join(dir, 'parent/out'),
    '--workers',
    '1',
    '--shard-samples',
    '50',
  ];
  const { child, ended } = started(t, args);
  const groups = join(dir, 'parent/out/.packing/groups');
  while (!existsSync(groups) || (await readdir(groups)).length === 0) {
    assert.equal(child.exitCode, null);
    await wait(5);
  }
  child.kill('SIGINT');
  const { code, stderr } = await ended;
  assert.equal(code, 1);
  assert.match(stderr, /error interrupted: SIGINT; [^\n]*--resume/);
  const again = await run(t, ...args);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /^error unfinished: [^\n]*after \d+ finished shards[^\n]*--resume[^\n]*\n$/);
  const resumed = await run(t, ...args, '--resume');
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.match(resumed.stderr, /13 shards a bucket, \d+ of them finished before;/);
  const whole = await run(t, ...args.with(4, join(dir, 'whole')));
  assert.equal(whole.code, 0, whole.stderr);
  assert.deepEqual(await treeOf(join(dir, 'parent/out')), await treeOf(join(dir, 'whole')));
});

test('a run that is interrupted before its first shard is finished leaves nothing', async (t) => {
  const dir = await temporaryFolder(t);
  const source = await writeFiles(join(dir, 'source'), manyPhotos(await photos(), 1500));
  const { child, ended } = started(t, [
    'shard',
    '--source',
    source,
    '--out',
    join(dir, 'parent/out'),
    '--workers',
    '1',
  ]);
  await appears(child, join(dir, 'parent/out/128/train-000000.tar.tmp'));
  child.kill('SIGTERM');
  const { code, stderr } = await ended;
  assert.equal(code, 1);
  assert.match(stderr, /error interrupted: SIGTERM; /);
  assert.deepEqual(await readdir(dir), ['source']);
});

test('a terminal, which signals the whole group, interrupts a run with many workers as it does one with few', async (t) => {
  const dir = await temporaryFolder(t);
  const source = await writeFiles(join(dir, 'source'), manyPhotos(await photos(), 1500));
  const args = [cli, 'shard', '--source', source, '--out', join(dir, 'out'), '--workers', '6', '--json'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  t.after(() => child.kill('SIGKILL'));
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.resume();
  const ended = new Promise((resolve) => child.once('close', resolve));
  await appears(child, join(dir, 'out/128/train-000000.tar.tmp'));
  process.kill(-(child.pid as number), 'SIGINT');
  assert.equal(await ended, 1);
  assert.equal(JSON.parse(stdout).error.code, 'interrupted');
  assert.deepEqual(await readdir(dir), ['source']);
});

test('a dry run says what it found and writes nothing', async (t) => {
  const dir = await temporaryFolder(t);
  const source = await writeFiles(join(dir, 'source'), await photos());
  const args = ['shard', '--source', source, '--out', join(dir, 'out'), ...SMALL, '--dry-run'];
  const { code, stdout, stderr } = await run(t, ...args);
  assert.equal(code, 0, stderr);
  assert.match(
    stdout,
    /^class folders: 2 classes, 10 train and 3 val sources; 4 shards a bucket; needs about [\d.]+ MB/,
  );
  const { estimate, ...plan } = JSON.parse((await run(t, ...args, '--json')).stdout);
  assert.deepEqual(plan, {
    layout: 'class folders',
    classes: 2,
    sources: { train: 10, val: 3 },
    shards: 4,
    left: 4,
  });
  assert.deepEqual(await readdir(dir), ['source']);
  const packed = await run(t, ...args.slice(0, -1), '--json');
  assert.match((await run(t, ...args)).stderr, /^error target-exists: /);
  const { bytes } = JSON.parse(packed.stdout);
  assert.ok(Math.abs(estimate.bytes - bytes) < 0.35 * bytes, `${estimate.bytes} estimated, ${bytes} packed`);
});
