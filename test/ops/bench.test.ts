// The benchmark's commands on a machine without Python: what can run does, what is missing is named.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import type { CapacityFigures } from '../../ops/bench/capacity.ts';
import type { PeersResult } from '../../ops/bench/peers.ts';
import type { PipelineResult } from '../../ops/bench/pipeline.ts';
import type { BenchResult } from '../../ops/bench/preprocess.ts';
import type { QualityResult } from '../../ops/bench/quality.ts';
import type { StreamResult } from '../../ops/bench/stream.ts';
import { type Ended, run } from '../commands.ts';
import { temporaryFolder } from '../packed.ts';

const LITTLE = ['--images', '104', '--rounds', '1', '--workers', '2', '--json'];

const LITTLE_LOADERS = ['--photos', '104', '--images', '64', '--rounds', '1', '--workers', '2', '--json'];

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

/** Every case of the loaders, ours and the limit measured, the peers named and missing. */
function expectLoaderRows(rows: PeersResult['rows']): void {
  assert.deepEqual(
    rows.map(({ source, output }) => `${source} ${output}`),
    [
      'short side 256 224',
      'short side 160 128',
      'short side 320 288',
      'originals 500×375 224',
      'originals 500×375 128',
    ],
  );
  for (const { ours, peers, limit, ratio, ofLimit } of rows) {
    assert.ok(ours > 0 && limit !== null && limit > 0);
    assert.equal(ofLimit, ours / limit);
    assert.deepEqual(peers, { torchvision: null, webdataset: null, dali: null, ffcv: null });
    assert.equal(ratio, null);
  }
}

describe('ops bench', () => {
  before(() => {
    process.env['MEDIUM_RECIPE_CACHE'] = temporaryFolder();
    process.env['PATH'] = temporaryFolder(); // the commands start Node by its full path
  });

  it('peers runs what is there, skips the rest aloud, and ends with 1', async () => {
    const chart = join(temporaryFolder(), 'loaders.svg');
    const loaders = ['--loader-images', '64', '--loader-rounds', '1', '--chart', chart];
    const ended = await run('ops', ['bench', 'peers', ...LITTLE, ...loaders]);
    assert.equal(ended.code, 1, ended.stderr);
    const { pass, rows, packing, checks, missing, preprocess, loaders: all } = lastOf<PeersResult>(ended);
    assert.equal(pass, false);
    expectRows(preprocess);
    assert.deepEqual(
      packing.map(({ ratio }) => ratio),
      [null, null],
    );
    expectLoaderRows(rows);
    assert.match(String(all.versions['libjpeg-turbo alone']), /^@julusian\/jpeg-turbo \d/);
    assert.equal(all.versions['torchvision'], null);
    assert.match(await readFile(chart, 'utf8'), /^<svg /);
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

  it('pipeline tells what each stage costs, beside libjpeg-turbo alone, by workers and by shards', async () => {
    const file = join(temporaryFolder(), 'capacity.json');
    const ended = await run('ops', ['bench', 'pipeline', ...LITTLE_LOADERS, '--capacity', file]);
    assert.equal(ended.code, 0, ended.stderr);
    const { rows, shards } = lastOf<PipelineResult>(ended);
    assert.equal(rows.length, 5);
    for (const row of rows) {
      const { imagesPerSecond, oneWorker, limit, ratio, stages, scaling, limitScaling, scalingRatio, bySharp } = row;
      assert.deepEqual([ratio, scaling], [imagesPerSecond / limit, imagesPerSecond / oneWorker]);
      assert.equal(scalingRatio, scaling / limitScaling);
      for (const value of [imagesPerSecond, ...Object.values(stages), limitScaling, bySharp]) assert.ok(value > 0);
    }
    assert.equal(shards.ratio, shards['400'] / shards['4']);
    const figures = JSON.parse(await readFile(file, 'utf8')) as CapacityFigures;
    assert.equal(figures.format, 'medium-recipe/capacity@1');
    for (const { msPerImage, jpegBytes } of figures.rows) {
      assert.deepEqual(Object.keys(msPerImage), ['read', 'decode', 'kernel', 'main', 'total']);
      assert.ok(msPerImage.total > msPerImage.decode && jpegBytes > 1000);
    }
  });

  it('stream passes every image through the log and tells why there is no broker', async () => {
    const ended = await run('ops', ['bench', 'stream', ...LITTLE_LOADERS]);
    assert.equal(ended.code, 0, ended.stderr);
    const { rows } = lastOf<StreamResult>(ended);
    assert.deepEqual(
      rows.map(({ transport, output }) => `${transport} ${output}`),
      ['log 224', 'log 128', 'kafka 224', 'kafka 128'],
    );
    for (const { transport, imagesPerSecond, pipeline, ratio, skipped } of rows)
      if (transport === 'kafka') {
        assert.equal(imagesPerSecond, null);
        assert.match(String(skipped), /java-missing/);
      } else {
        assert.ok(imagesPerSecond !== null && imagesPerSecond > 0);
        assert.equal(ratio, imagesPerSecond / pipeline);
      }
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
