import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { extrapolate, IMAGENET_IMAGES, shareOf } from '../../ops/bench/extrapolate.ts';
import { runMeasured } from '../../ops/bench/measured-child.ts';
import { packingRows } from '../../ops/bench/peers.ts';
import { median, type Row } from '../../ops/bench/preprocess.ts';
import { table } from '../../ops/bench/report.ts';
import { addWork, totalWork, type Work } from '../../ops/bench/work.ts';
import { identity } from '../../ops/setup/plain.ts';
import { temporaryFolder } from '../packed.ts';

const never = new AbortController().signal;
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await sleep(10);
};

const node = (script: string) => ({ command: process.execPath, args: ['-e', script] });

describe('a measured child', () => {
  it('gets its job on stdin and answers with its last line', async () => {
    const echo = node("process.stdin.on('data', (data) => console.log('noise\\n' + data))");
    const { result, wallSeconds } = await runMeasured({ ...echo, input: { a: 1 }, signal: never });
    assert.deepEqual(result, { a: 1 });
    assert.ok(wallSeconds > 0);
  });

  it('is measured by thread where the system tells', {
    skip: process.platform !== 'linux' && 'needs /proc',
  }, async () => {
    // A worker burns three times what the main thread does.
    const script = `const burn = (ms) => { const end = performance.now() + ms; while (performance.now() < end); };
      const { Worker } = require('node:worker_threads');
      new Worker('(' + burn + ')(300)', { eval: true }).on('exit', () => { burn(100); console.log('{}'); setTimeout(() => {}, 60); });`;
    const { cpu } = await runMeasured({ ...node(script), signal: never });
    assert.ok(cpu !== null && cpu.mainThread > 0 && cpu.mainThread < cpu.process);
  });

  it('that fails is a fault with its last words', async () => {
    const failing = node("process.stderr.write('first\\nno such photo\\n'); process.exit(3)");
    await assert.rejects(runMeasured({ ...failing, signal: never }), {
      name: 'Fault',
      code: 'contender-failed',
      message: /ended with 3: no such photo/,
    });
  });

  it('goes with the processes it has started when the benchmark is interrupted', async () => {
    const controller = new AbortController();
    const file = join(temporaryFolder(), 'pid');
    const script = `const { spawn } = require('node:child_process');
      const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
      require('node:fs').writeFileSync('${file}.aside', String(child.pid));
      require('node:fs').renameSync('${file}.aside', '${file}');
      setInterval(() => {}, 1000);`;
    const running = runMeasured({ ...node(script), signal: controller.signal });
    running.catch(() => {});
    await until(() => existsSync(file));
    const grandchild = Number(readFileSync(file, 'utf8'));
    assert.notEqual(identity(grandchild), null);
    controller.abort(new Error('enough'));
    await assert.rejects(running, /enough/);
    await until(() => identity(grandchild) === null);
  });
});

describe('figures of a benchmark', () => {
  it('take the middle round, or the mean of the middle two', () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1, 2, 3]), 2.5);
    assert.ok(Number.isNaN(median([])));
  });

  it('leave the start of the program out of an image’s cost', () => {
    const at = (images: number) => ({
      images,
      seconds: 1 + images / 100,
      processSeconds: 0.5 + 0.019 * images,
      mainThreadSeconds: 0.3 + 0.001 * images,
    });
    const { startSeconds, serialMs, busyCores } = shareOf(at(100), at(1000));
    assert.deepEqual(
      [startSeconds, serialMs, busyCores].map((value) => Math.round(1e6 * value) / 1e6),
      [0.5, 1, 1.9],
    );
  });

  it('extrapolate by cores until the main thread is busy all the time', () => {
    const two = extrapolate(2, 100, 1);
    assert.deepEqual(two, { cores: 2, imagesPerSecond: 200, hours: IMAGENET_IMAGES / 200 / 3600, bound: 'cores' });
    assert.deepEqual(extrapolate(64, 100, 1).imagesPerSecond, 1000);
    assert.equal(extrapolate(64, 100, 1).bound, 'main thread');
    assert.equal(extrapolate(64, 100, 0).imagesPerSecond, 6400);
  });

  it('add up what was stored', () => {
    const work: Work = {};
    addWork(work, { 160: { images: 1, pixels: 10, bytes: 5 }, 256: { images: 1, pixels: 20, bytes: 7 } });
    addWork(work, { 160: { images: 1, pixels: 11, bytes: 6 } });
    assert.deepEqual(work['160'], { images: 2, pixels: 21, bytes: 11 });
    assert.deepEqual(totalWork(work), { images: 3, pixels: 41, bytes: 18 });
  });

  it('compare each of our kernels with the best peer of the same filter', () => {
    const row = (kind: Row['kind'], kernel: Row['kernel'], imagesPerSecond: number | null): Row => ({
      kind,
      name: `${kind} ${kernel} ${imagesPerSecond}`,
      kernel,
      imagesPerSecond,
      seconds: [],
      wallSeconds: [],
      cpuMs: null,
      ratio: null,
      cpuRatio: null,
      goal: null,
      work: null,
      skipped: imagesPerSecond === null ? 'not here' : null,
    });
    const [sharp, fast] = packingRows([
      row('ours', 'lanczos3', 300),
      row('ours', 'bilinear', 400),
      row('limit', 'lanczos3', 320),
      row('peer', 'lanczos3', 100),
      row('peer', 'lanczos3', 150),
      row('peer', 'bilinear', null),
    ]);
    assert.deepEqual([sharp?.ours, sharp?.limit, sharp?.ratio], [300, 320, 2]);
    assert.deepEqual([fast?.ours, fast?.limit, fast?.ratio], [400, null, null]);
    assert.deepEqual(fast?.peers, { 'peer bilinear null': null });
  });

  it('stand in columns', () => {
    assert.equal(table([['', 'images/s'], ['ours', '12'], ['a peer']]), '        images/s\nours          12\na peer');
  });
});
