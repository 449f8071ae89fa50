// The benchmark's commands on a machine without Python: what can run does, what is missing is named.

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import type { PeersResult } from '../../ops/bench/peers.ts';
import type { BenchResult } from '../../ops/bench/preprocess.ts';
import type { QualityResult } from '../../ops/bench/quality.ts';
import { type Ended, run } from '../commands.ts';
import { temporaryFolder } from '../packed.ts';

const LITTLE = ['--images', '104', '--rounds', '1', '--workers', '2', '--json'];

/** The last line of stdout. */
const lastOf = <T>({ stdout }: Ended): T => JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as T;

function expectRows({ rows, imagenet }: BenchResult): void {
  const ran = rows.filter(({ skipped }) => skipped === null);
  assert.deepEqual(
    ran.map(({ kind }) => kind),
    ['ours', 'ours', 'limit'],
  );
  for (const { imagesPerSecond, seconds, work } of ran) {
    assert.ok(imagesPerSecond !== null && imagesPerSecond > 0);
    assert.equal(seconds.length, 1);
    assert.equal(work?.images, 3 * 104);
  }
  assert.equal(ran[0]?.ratio, 1);
  const skipped = rows.filter((row) => row.skipped !== null);
  assert.ok(skipped.length >= 3);
  for (const { kind, imagesPerSecond, ratio, skipped: reason } of skipped) {
    assert.deepEqual([kind, imagesPerSecond, ratio], ['peer', null, null]);
    assert.match(String(reason), /no python3 on PATH|no pkg-config/);
  }
  assert.deepEqual(
    imagenet.map(({ cores }) => cores),
    [2, 64],
  );
}

describe('ops bench', () => {
  before(() => {
    process.env['MEDIUM_RECIPE_CACHE'] = temporaryFolder();
    process.env['PATH'] = temporaryFolder(); // the commands start Node by its full path
  });

  it('peers runs what is there, skips the rest aloud, and ends with 1', async () => {
    const ended = await run('ops', ['bench', 'peers', ...LITTLE]);
    assert.equal(ended.code, 1, ended.stderr);
    const { pass, rows, checks, missing, preprocess } = lastOf<PeersResult>(ended);
    assert.equal(pass, false);
    expectRows(preprocess);
    assert.deepEqual(
      rows.map(({ ratio }) => ratio),
      [null, null],
    );
    assert.deepEqual(
      checks.map((check) => [check.pass, /no-python/.test(check.detail)]),
      [
        [false, true],
        [false, true],
      ],
    );
    assert.ok(missing.length >= 3);
    assert.match(ended.stderr, /SKIPPED: PIL .*no-python: no python3 on PATH/);
    assert.match(ended.stderr, /SKIPPED: FFCV /);
  });

  it('quality tells that a higher JPEG quality is nearer to a full-quality resize', async () => {
    const ended = await run('ops', ['bench', 'quality', '--images', '1', '--json']);
    assert.equal(ended.code, 0, ended.stderr);
    const { rows } = lastOf<QualityResult>(ended);
    const of = (quality: number) =>
      rows.find((row) => row.study === 'settings' && row.kernel === 'lanczos3' && row.quality === quality);
    assert.ok((of(95)?.psnr ?? 0) > (of(85)?.psnr ?? Number.POSITIVE_INFINITY));
  });

  it('refuses too few photos as wrong usage', async () => {
    const { code, stderr } = await run('ops', ['bench', 'preprocess', '--images', '50']);
    assert.equal(code, 2);
    assert.match(stderr, /--images 50; expected a whole number, at least 104/);
  });
});
