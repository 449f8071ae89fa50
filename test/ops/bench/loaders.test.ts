import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkMeans, type LoaderContender, type Score } from '../../../ops/bench/contest.ts';
import { loaderChart, loaderReport } from '../../../ops/bench/loader-report.ts';
import { type LoaderResult, loaderRows } from '../../../ops/bench/loaders.ts';

const each = { source: 'short side 256', output: 224, set: 'set' };

const contender = (kind: LoaderContender['kind'], name: string): LoaderContender => ({
  name,
  kind,
  program: null,
  missing: null,
  workers: 2,
});

const score = (kind: LoaderContender['kind'], name: string, rate: number | null, cpuMs: number | null): Score => ({
  case: each,
  contender: contender(kind, name),
  imagesPerSecond: rate,
  rounds: rate === null ? [] : [rate],
  cpuMs,
  stages: null,
  version: rate === null ? null : `${name} 1.2`,
});

const SCORES = [
  score('ours', 'ours', 2100, 0.9),
  score('limit', 'libjpeg-turbo alone', 3000, 0.6),
  score('sharp', 'sharp', 300, 6),
  score('peer', 'torchvision', 900, 2),
  score('peer', 'dali', 1000, 1.8),
  score('peer', 'ffcv', null, null),
];

const MACHINE = { cpu: 'a <CPU> & more', cores: 2, memoryGb: 8, os: 'linux 6 x64', node: 'v20', load: 0.5 };

const resultOf = (scores: readonly Score[]): LoaderResult => ({
  rows: loaderRows([each], scores),
  machine: MACHINE,
  rounds: 5,
  workers: 2,
  versions: Object.fromEntries(scores.map(({ contender, version }) => [contender.name, version])),
  missing: ['ffcv: no g++'],
});

describe('a row of the loaders', () => {
  it('compares ours with the best peer that ran, and with the decoder alone', () => {
    const [row] = loaderRows([each], SCORES);
    assert.deepEqual(row?.peers, { torchvision: 900, dali: 1000, ffcv: null });
    assert.deepEqual([row?.ours, row?.best, row?.ratio], [2100, 'dali', 2.1]);
    assert.deepEqual([row?.limit, row?.ofLimit, row?.sharp], [3000, 0.7, 300]);
    assert.equal(row?.cpuRatio, 2);
  });

  it('has no ratio where no peer ran', () => {
    const [row] = loaderRows([each], [score('ours', 'ours', 2100, null), score('peer', 'ffcv', null, null)]);
    assert.deepEqual([row?.ratio, row?.best, row?.limit, row?.ofLimit, row?.cpuRatio], [null, null, null, null, null]);
  });
});

describe('equal work', () => {
  const ours = contender('ours', 'ours');
  const peer = contender('peer', 'dali');
  const check = (mean: number | null, photos: number) =>
    checkMeans(
      each,
      photos,
      new Map([
        [ours, 120],
        [peer, mean],
      ]),
    );

  it('is what other random crops of the same photos make', () => {
    check(123, 1000);
    check(126, 64);
  });

  it('is refused where pixels are missing, too dark or not counted', () => {
    for (const mean of [0, 114, null])
      assert.throws(() => check(mean, 1000), { code: 'unequal-work', message: /dali made images of mean/ });
  });
});

describe('the table of the loaders', () => {
  it('says which goal is met and what was skipped', () => {
    assert.match(loaderReport(resultOf(SCORES)), /2\.10 +≥ 2 met +2\.00 +0\.70 +≥ 0\.65 met/);
    assert.match(loaderReport(resultOf(SCORES)), /^dali: dali 1\.2$/m);
    assert.match(loaderReport(resultOf(SCORES)), /SKIPPED ffcv: no g\+\+/);
    const slow = SCORES.map((each) => (each.contender.kind === 'ours' ? { ...each, imagesPerSecond: 1500 } : each));
    assert.match(loaderReport(resultOf(slow)), /1\.50 +≥ 2 MISSED/);
  });
});

describe('the chart of the loaders', () => {
  it('has a bar as high as the rate for each contender, and escapes names', () => {
    const svg = loaderChart(resultOf(SCORES));
    assert.match(svg, /a &lt;CPU> &amp; more/);
    const heightOf = (name: string): number =>
      Number(new RegExp(`height="([\\d.]+)" fill="[^"]+"><title>${name}:`).exec(svg)?.[1]);
    assert.ok(Math.abs(heightOf('torchvision') / heightOf('ours') - 900 / 2100) < 0.01);
    assert.equal(heightOf('ffcv'), 0);
  });
});
