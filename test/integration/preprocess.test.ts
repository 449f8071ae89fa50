// Packing as a command, under what may befall it: killed at any moment, a full disk, very many sources.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { Draws } from '#shards';
import { manyPhotos, photos, treeOf, writeFiles } from '../preprocess/photos.ts';
import { temporaryFolder } from '../shards/dataset.ts';

const cli = fileURLToPath(new URL('../../preprocess/cli.js', import.meta.url));
const run = promisify(execFile);
const SMALL = ['--buckets', '16:20,32:40', '--workers', '2'];

/** Small photos, `count` of them in train and 3 in val. */
async function sourceOf(t: TestContext, count: number): Promise<{ dir: string; source: string }> {
  const dir = await temporaryFolder(t);
  return { dir, source: await writeFiles(join(dir, 'source'), manyPhotos(await photos(), count)) };
}

test('killed at 20 random moments and resumed each time, the tree is that of an uninterrupted run', async (t) => {
  const { dir, source } = await sourceOf(t, 160);
  const args = ['shard', '--source', source, ...SMALL, '--shard-samples', '8'];
  await run(process.execPath, [cli, ...args, '--out', join(dir, 'whole')]);
  const whole = await treeOf(join(dir, 'whole'));
  const draws = new Draws({ seed: 0, purpose: 'kills' });
  let kills = 0;
  for (let round = 0; kills < 20; round++) {
    const out = join(dir, `out-${round}`);
    for (let [ended, tries] = [false, 0]; !ended; tries++) {
      const child = spawn(process.execPath, [cli, ...args, '--out', out, '--resume'], { stdio: 'ignore' });
      t.after(() => child.kill('SIGKILL'));
      const exit = once(child, 'exit');
      // From the target's first sign on, so that the moments lie in the packing and not in Node's start.
      while (child.exitCode === null && !existsSync(join(out, '.packing'))) await wait(2);
      // Later from try to try: a machine so busy that a start takes longer would never come to the end.
      const moment = wait(draws.uniform() * 600 * 1.2 ** tries);
      await Promise.race([moment, exit]);
      if (child.exitCode === null && child.kill('SIGKILL')) kills++;
      const [code, signal] = await exit;
      ended = signal === null;
      if (ended) assert.equal(code, 0);
    }
    assert.deepEqual(await treeOf(out), whole);
  }
});

test('when a file cannot grow, the failure says so, finished shards are intact, and --resume goes on', {
  skip: process.platform === 'win32' && 'needs a shell with ulimit',
}, async (t) => {
  const { dir, source } = await sourceOf(t, 40);
  // A strip of noise, which is stored as it is and takes far more room than the rest.
  const noise = Buffer.from(Array.from({ length: 40 * 1000 * 3 }, (_, i) => (i * i * 31 + i * 7) % 251));
  const strip = sharp(noise, { raw: { width: 1000, height: 40, channels: 3 } }).jpeg({ quality: 95 });
  const args = ['shard', '--source', source, ...SMALL, '--shard-samples', '8'];
  await writeFiles(source, { 'train/cat/noise.JPEG': await strip.toBuffer() });
  const whole = join(dir, 'whole');
  await run(process.execPath, [cli, ...args, '--out', whole]);
  const sizes = await Promise.all(
    (await readdir(join(whole, '32')))
      .filter((name) => name.endsWith('.tar'))
      .map(async (name) => ({ name, bytes: (await stat(join(whole, '32', name))).size })),
  );
  const [largest, second] = sizes.sort((a, b) => b.bytes - a.bytes);
  assert.ok(
    largest && second && largest.bytes > second.bytes + 1024 && largest.name !== 'train-000000.tar',
    JSON.stringify(sizes),
  );
  const out = join(dir, 'out');
  // bash counts blocks of 1024 bytes.
  const blocks = Math.ceil(second.bytes / 1024);
  const limited = ['-c', `ulimit -f ${blocks}; exec "$@"`, 'bash', process.execPath, cli, ...args, '--out', out];
  const failed = await run('bash', limited).then(
    () => assert.fail('the limit was not met'),
    (error: { code: number; stderr: string }) => error,
  );
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /\nerror write-failed: EFBIG[^\n]*--resume[^\n]*\n$/);
  const tree = await treeOf(whole);
  const groups = await readdir(join(out, '.packing/groups'));
  assert.ok(groups.length > 0);
  const now = await treeOf(out);
  for (const file of groups.flatMap((group) => ['tar', 'idx'].map((end) => `32/${group.replace('json', end)}`)))
    assert.equal(now[file], tree[file], file);
  await run(process.execPath, [cli, ...args, '--out', out, '--resume']);
  assert.deepEqual(await treeOf(out), tree);
});

/** Peak resident memory of the command, bytes. */
async function peakOf(args: readonly string[]): Promise<number> {
  const tell = 'process.on("exit",()=>process.stderr.write("peak "+process.resourceUsage().maxRSS+"\\n"))';
  const node = ['--max-semi-space-size=1', '--import', `data:text/javascript,${tell}`];
  const { stderr } = await run(process.execPath, [...node, cli, ...args]);
  return 1024 * Number(/^peak (\d+)$/m.exec(stderr)?.[1]);
}

/** Class folders with links to the photos of another source. */
async function linkedSource(t: TestContext, photos: readonly string[], count: number): Promise<string> {
  const dir = await temporaryFolder(t);
  for (let c = 0; c < 20; c++) await mkdir(join(dir, `train/class-${c}`), { recursive: true });
  await mkdir(join(dir, 'val/class-0'), { recursive: true });
  for (let i = 0; i < count; i++)
    await symlink(photos[i % photos.length] as string, join(dir, `train/class-${i % 20}/${i}.JPEG`));
  await symlink(photos[0] as string, join(dir, 'val/class-0/0.JPEG'));
  return dir;
}

// The photos are tiny, so that it is quick: V8's young generation would still be growing at 4,000, so it is bounded for
// both. With photos of 500 × 375 it has grown by then (ops/LOG.md).
test('ten times the sources need less than a tenth more memory', async (t) => {
  const { dir, source } = await sourceOf(t, 200);
  const photos = (await readdir(join(source, 'train/cat'))).map((name) => join(source, 'train/cat', name));
  const peak = async (count: number): Promise<number> => {
    const out = join(dir, String(count));
    const bytes = await peakOf(['shard', '--source', await linkedSource(t, photos, count), '--out', out, ...SMALL]);
    const { dataset } = JSON.parse(await readFile(join(out, 'manifest.json'), 'utf8'));
    assert.equal(dataset.counts.train, count);
    return bytes;
  };
  const few = await peak(4_000);
  const many = await peak(40_000);
  assert.ok(few > 30e6 && many < 1.1 * few, `${few} bytes for 4,000 sources, ${many} for 40,000`);
});
