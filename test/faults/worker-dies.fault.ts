// Pool workers that throw, exit and run out of memory while a real `stream produce` fills a log: retried, counted, same bytes.

import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { openTransport } from '../../stream/transport/index.ts';
import { type Ended, run } from '../commands.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { type Delivered, delivered, ledgerOf } from './delivered.ts';
import type { FailingReads } from './failing-reads.ts';
import { pick } from './length.ts';

/** 10 steps of 2 lanes and 2 × 2 chunks of val; four images a chunk. */
const RECIPE = `
name: dying
lanes: 2
phases:
  - { resolution: 64, epochs: 1, batch: 8 }
optimizer: { lr: 0.05, weightDecay: 0 }
`;

let shards: string;
let recipe: string;
let expected: { readonly hashes: Delivered['hashes']; readonly ledger: string[] };

async function produce(url: string, workers: number, failing?: FailingReads): Promise<Ended> {
  const args = ['produce', '--run', 'dying', '--transport', url, '--shards', shards, '--recipe', recipe];
  const preload = new URL('./failing-reads.js', import.meta.url).href;
  const env = failing && { NODE_OPTIONS: `--import=${preload}`, FAILING_READS: JSON.stringify(failing) };
  return run('stream', [...args, '--workers', String(workers), '--json'], env);
}

async function read(url: string) {
  const transport = await openTransport(url, { create: false });
  try {
    const { hashes } = await delivered(transport, 'dying');
    return { hashes, ledger: await ledgerOf(transport, 'dying') };
  } finally {
    await transport.close();
  }
}

async function newMarks(): Promise<string> {
  const marks = join(temporaryFolder(), 'marks');
  await mkdir(marks);
  return marks;
}

const newLog = () => `log:${join(temporaryFolder(), 'log')}`;

before(async () => {
  shards = await packPhotos('64:80');
  recipe = join(temporaryFolder(), 'dying.yaml');
  await writeFile(recipe, RECIPE);
  const url = newLog();
  const { code, stderr } = await produce(url, 1);
  assert.equal(code, 0, stderr);
  expected = await read(url);
});

/** `times` is 2 at most: a task is given up at its third failure, and which tasks are in a worker that dies is chance. */
async function survives(how: FailingReads['how'], at: number, workers: number, times: 1 | 2): Promise<void> {
  const marks = await newMarks();
  const url = newLog();
  const { code, stdout, stderr } = await produce(url, workers, { how, at, times, marks });
  assert.equal(code, 0, stderr);
  assert.equal((await readdir(marks)).length, times, 'every failure happened');
  const { retries, idleDeaths } = JSON.parse(stdout) as { retries: number; idleDeaths: number };
  // A worker that dies takes along the task that stood ready in it; one that dies as it starts may have none yet.
  assert.ok(retries >= (at === 0 ? 0 : times) && retries <= 2 * times, `${retries} retries`);
  // piscina does not tell of a worker that exits without a task.
  if (how !== 'exits') assert.ok(retries + idleDeaths >= times, `${retries} retries, ${idleDeaths} idle`);
  assert.deepEqual(await read(url), expected);
}

describe('pool worker throws, exits, runs out of memory', () => {
  for (const how of ['throws', 'exits', 'runs out of memory'] as const) {
    for (const at of pick([6], [1, 2, 6, 13])) {
      if (pick(false, true)) it(`${how} once, at sample ${at}`, () => survives(how, at, 1, 1));
      it(`${how} twice, at sample ${at} of two workers`, () => survives(how, at, 2, 2));
    }
    it(`${how} as it starts`, () => survives(how, 0, 1, 2));
  }

  for (const [how, at, message] of [
    ...pick([], [['exits', 6, 'worker exited with code: 3'] as const]),
    ['exits', 0, 'workers'],
    ['runs out of memory', 6, 'memory limit'],
  ] as const)
    it(`${how} again and again, at sample ${at}: told by name, and the run goes on once it does not`, async () => {
      const url = newLog();
      const ended = await produce(url, 2, { how, at, times: 1000, marks: await newMarks() });
      assert.equal(ended.code, 1);
      assert.match(ended.stderr, /error workers-died: (train|val), lane [01], step -?\d+, chunk 0 .*3 workers died/);
      assert.ok(ended.stderr.includes(message), ended.stderr);
      const again = await produce(url, 2);
      assert.equal(again.code, 0, again.stderr);
      assert.deepEqual(await read(url), expected);
    });
});
