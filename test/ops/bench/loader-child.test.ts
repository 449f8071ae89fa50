import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AUGMENTATION } from '../../../ops/bench/contest.ts';
import { groupCpuSeconds, LoaderChild, type LoaderJob } from '../../../ops/bench/loader-child.ts';
import { identity } from '../../../ops/setup/plain.ts';

const never = new AbortController().signal;
const job: LoaderJob = {
  ...AUGMENTATION,
  set: 'set',
  samples: 1,
  files: [],
  tars: [],
  output: 8,
  images: 4,
  workers: 1,
  scratch: 'scratch',
  check: false,
};

function started(t: TestContext, script: string): LoaderChild {
  const child = new LoaderChild({ command: process.execPath, args: ['-e', script] });
  t.after(() => child.close());
  return child;
}

const SERVE = (answer: string): string =>
  `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => { const job = JSON.parse(line); ${answer} })`;

describe('a loader as a child process', () => {
  it('answers job after job, in the same process', async (t) => {
    const child = started(
      t,
      `let jobs = 0; ${SERVE('jobs++; console.log(JSON.stringify({ images: job.images, seconds: jobs, mean: process.pid }))')}`,
    );
    const first = await child.ask(job, never);
    const second = await child.ask({ ...job, images: 8 }, never);
    assert.deepEqual([first.images, first.seconds], [4, 1]);
    assert.deepEqual([second.images, second.seconds], [8, 2]);
    assert.equal(first.mean, second.mean);
  });

  it('is measured by CPU with the processes that it starts', {
    skip: process.platform !== 'linux' && 'needs /proc',
  }, async (t) => {
    const burn = 'const end = performance.now() + 150; while (performance.now() < end);';
    const child = started(
      t,
      SERVE(
        `require('node:child_process').spawnSync(process.execPath, ['-e', ${JSON.stringify(burn)}]); console.log('{"images":1,"seconds":1,"mean":null}')`,
      ),
    );
    const { cpuMs } = await child.ask(job, never);
    assert.ok(cpuMs !== null && cpuMs > 0);
  });

  it('that ends instead of answering is a fault with its reason', async (t) => {
    const child = started(t, SERVE("console.error('noise'); throw new TypeError('no such set')"));
    const failure = { name: 'Fault', code: 'contender-failed', message: /TypeError: no such set/ };
    await assert.rejects(child.ask(job, never), failure);
    await assert.rejects(child.ask(job, never), failure);
  });

  it('that is not there is a fault', async (t) => {
    const child = new LoaderChild({ command: '/nowhere/python', args: [] });
    t.after(() => child.close());
    await assert.rejects(child.ask(job, never), { code: 'contender-failed', message: /ENOENT/ });
  });

  it('ends with the processes that it has started', {
    skip: process.platform !== 'linux' && 'needs /proc',
  }, async (t) => {
    const child = started(
      t,
      SERVE(
        `const { pid } = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']); console.log(JSON.stringify({ images: 1, seconds: 1, mean: pid }))`,
      ),
    );
    const { mean: grandchild } = await child.ask(job, never);
    assert.ok(grandchild !== null && identity(grandchild) !== null);
    await child.close();
    while (identity(grandchild) !== null) await sleep(10);
  });

  it('is killed when the benchmark is interrupted', async (t) => {
    const controller = new AbortController();
    const child = started(t, SERVE("process.stderr.write('asked')"));
    const asked = child.ask(job, controller.signal);
    controller.abort(new Error('enough'));
    await assert.rejects(asked, /enough/);
  });
});

describe('the CPU time of a process group', () => {
  it('is nothing for a group that is not there', { skip: process.platform !== 'linux' && 'needs /proc' }, () => {
    assert.equal(groupCpuSeconds(2 ** 30), 0);
  });
});
