import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Draws } from '#shards';
import { inOrder } from '../../preprocess/pool.ts';
import type { ResizeResult, ResizeTask } from '../../preprocess/resize.ts';
import { temporaryFolder } from '../shards/dataset.ts';
import { writeFiles } from './photos.ts';

const tasks = (count: number, dir = '/nowhere'): ResizeTask[] =>
  Array.from({ length: count }, (_, i) => ({ file: join(dir, String(i)), split: 'train', buckets: [] }));

const refused = (reason: string): ResizeResult => ({ ok: false, code: 'damaged', reason });

const image = (bytes: number): ResizeResult => ({
  ok: true,
  images: [{ jpg: new Uint8Array(bytes), sha256: new Uint8Array(32), width: 1, height: 1, notEnlarged: false }],
});

test('answers come in the order of the tasks, however their work ends', async () => {
  const draws = new Draws({ seed: 1, purpose: 'test' });
  const run = async ({ file }: ResizeTask): Promise<ResizeResult> => {
    for (let turns = draws.below(20); turns > 0; turns--) await setImmediate();
    return refused(file);
  };
  const seen: string[] = [];
  for await (const { result } of inOrder(run, tasks(200))) seen.push(result.ok ? '' : result.reason);
  assert.deepEqual(
    seen,
    tasks(200).map(({ file }) => file),
  );
});

test('large answers hold back the tasks that follow', async () => {
  let begun = 0;
  const run = async (): Promise<ResizeResult> => {
    begun++;
    return image(20_000_000);
  };
  let seen = 0;
  let most = 0;
  for await (const { result } of inOrder(run, tasks(40))) {
    assert.ok(result.ok);
    // Lets every answer that is under way arrive, as a slow writer would.
    await setImmediate();
    most = Math.max(most, begun - seen);
    seen++;
  }
  assert.equal(seen, 40);
  // 64 MiB hold four such answers; those that were begun before the first answer came are on top.
  assert.ok(most < 10, `${most} under way`);
});

test('large sources hold back the tasks that follow', async (t) => {
  const dir = await temporaryFolder(t);
  const files = Object.fromEntries(tasks(8).map((_, i) => [String(i), Buffer.alloc(30 << 20)]));
  await writeFiles(dir, files);
  let begun = 0;
  let seen = 0;
  const run = async (): Promise<ResizeResult> => {
    begun++;
    return refused('');
  };
  for await (const { sourceBytes } of inOrder(run, tasks(8, dir))) {
    assert.equal(sourceBytes, 30 << 20);
    assert.ok(begun - seen <= 3, `${begun - seen} under way`);
    seen++;
  }
  assert.equal(seen, 8);
});

test('a failure of the pool reaches the caller in its place, and those after it stay quiet', async () => {
  const run = async ({ file }: ResizeTask): Promise<ResizeResult> => {
    if (Number(file.slice('/nowhere/'.length)) >= 2) throw new Error(`worker lost at ${file}`);
    return refused('');
  };
  let seen = 0;
  await assert.rejects(async () => {
    for await (const _ of inOrder(run, tasks(5))) seen++;
  }, /worker lost at .*2$/);
  assert.equal(seen, 2);
});
