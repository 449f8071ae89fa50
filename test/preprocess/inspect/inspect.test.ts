import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { Fault } from '#shards';
import { type Inspection, inspectDataset } from '../../../preprocess/inspect/inspect.ts';
import { drawSamples } from '../../../preprocess/inspect/picture.ts';
import { describeInspection } from '../../../preprocess/inspect/text.ts';
import { temporaryFolder } from '../../shards/dataset.ts';
import { sealedDataset } from '../verify/sealed.ts';

test('an inspection has a row for each split and bucket, and the samples of each class', async (t) => {
  const dir = await temporaryFolder(t);
  const manifest = await sealedDataset(dir);
  const inspection = await inspectDataset(dir, manifest);
  // Positions 0, 2, 3, 8, 9 of train and 0, 1 of val; the label is the position modulo three.
  assert.deepEqual(inspection.samplesOfClass, { train: [3, 0, 2], val: [1, 1, 0] });
  assert.deepEqual(inspection.rejects, { count: 6, byCode: { 'empty-file': 6 } });
  assert.deepEqual(
    inspection.buckets.map(({ split, resolution, shortSide, shards, samples, notEnlarged }) => [
      split,
      resolution,
      shortSide,
      shards,
      samples,
      notEnlarged,
    ]),
    [
      ['train', 8, 12, 3, 5, 0],
      ['train', 16, 20, 3, 5, 1],
      ['val', 8, 12, 1, 2, 0],
      ['val', 16, 20, 1, 2, 1],
    ],
  );
  const sizes = await Promise.all(
    [0, 1, 2].map(async (ordinal) => (await stat(join(dir, `16/train-00000${ordinal}.tar`))).size),
  );
  const { bytes, smallestShard, largestShard } = inspection.buckets[1] as Inspection['buckets'][number];
  assert.deepEqual([bytes, smallestShard, largestShard], [sizes.reduce((a, b) => a + b), 1024, Math.max(...sizes)]);
});

test('as text it is a table, and a histogram that stays short for a thousand classes', () => {
  const samples = Array.from({ length: 1000 }, (_, i) => (i === 7 ? 732 : 1300 - (i % 300)));
  const lines = describeInspection({
    datasetSha256: 'abc',
    seed: 5,
    shardSamples: 1024,
    fingerprint: { versions: { decoder: '1.2' }, arch: 'x64', resize: { quality: 90 } },
    buckets: [
      {
        split: 'train',
        resolution: 128,
        shortSide: 160,
        shards: 2,
        samples: 1000,
        bytes: 4_000_000,
        smallestShard: 1_500_000,
        largestShard: 2_500_000,
        notEnlarged: 3,
        viaTurbo: 5,
        viaSharp: 4,
      },
    ],
    classes: samples.map((_, index) => ({ index, wnid: `n${index}`, ...(index === 7 && { name: 'rare' }) })),
    samplesOfClass: { train: samples, val: samples.map(() => 50) },
    rejects: { count: 2, byCode: { truncated: 2 } },
  });
  const text = lines.join('\n');
  assert.ok(lines.length < 30, text);
  assert.match(text, /train +128 +160 +2 +1000 +4\.00 MB +4000 +1\.50 MB +2\.50 MB +3 +5 +4/);
  assert.match(text, /a class has 732 to 1300, median 1167/);
  assert.match(text, /fewest: n7 rare \(732\), /);
  assert.match(text, /val: 50000 samples in 1000 classes; a class has 50 to 50/);
  assert.match(text, /rejects {2}2 \(truncated 2\)/);
  const counted = lines.flatMap((line) => / (\d+) class(?:es)?$/.exec(line)?.[1] ?? []).map(Number);
  assert.equal(
    counted.reduce((sum, count) => sum + count, 0),
    1000,
  );
});

test('the contact sheet is the same every time and shows each sample of a small split with its class below', async (t) => {
  const dir = await temporaryFolder(t);
  const manifest = await sealedDataset(dir);
  const first = await drawSamples(dir, manifest, { split: 'train', resolution: 16 });
  assert.equal(first.tiles, 5);
  assert.deepEqual(await drawSamples(dir, manifest, { split: 'train', resolution: 16 }), first);
  const { width, height } = await sharp(first.picture).metadata();
  // Three columns and two rows of 16 pixels with gaps of 4, each with one line of ten pixels and its gap.
  assert.deepEqual([width, height], [3 * 20 + 4, 2 * (20 + 14) + 4]);
});

test('an image that does not decode is named with its place, and a bucket that is not there with those that are', async (t) => {
  const dir = await temporaryFolder(t);
  const manifest = await sealedDataset(dir, ({ info }) => ({ info, jpg: Buffer.from('no image') }));
  const fault = (code: string, text: string) => (error: unknown) =>
    error instanceof Fault && error.code === code && error.message.includes(text);
  const draw = (resolution: number): Promise<unknown> => drawSamples(dir, manifest, { split: 'val', resolution });
  await assert.rejects(draw(8), fault('sample-damaged', '8/val-000000.tar at byte 512'));
  await assert.rejects(draw(9), fault('no-bucket', '8, 16'));
});
