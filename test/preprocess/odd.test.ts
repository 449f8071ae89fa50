// Every odd file is stored as it should look, or rejected with its code and reason: test/fixtures/odd/README.md.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import sharp from 'sharp';
import { REJECTS_FILE, type Reject } from '#preprocess';
import { openSplit, parseBuckets, type Split } from '#shards';
import { type ImageResult, type PixelSettings, type StoredImage, storeImage } from '../../preprocess/image.ts';
import { BUCKETS, type Rejected, type Stored } from '../fixtures/odd/expectation.ts';
import { planes, progressive } from '../fixtures/odd/jpeg.ts';
import { ODD_FILES, ODD_FOLDER, WRITTEN_HERE } from '../fixtures/odd/table.ts';
import { packed, photos } from './photos.ts';

const read = (file: string): Promise<Buffer> => readFile(join(ODD_FOLDER, 'files', file));

function store(file: Buffer, split: Split, orientation: PixelSettings['orientation']): Promise<ImageResult> {
  const pixels = { kernel: 'lanczos3', quality: 90, chroma: '4:2:0', orientation } as const;
  return storeImage(file, { split, buckets: parseBuckets(BUCKETS), pixels, timeoutMs: 20_000 });
}

/** Mean colour of a quarter of each quadrant, around its middle. */
async function colours({ jpg }: StoredImage): Promise<number[][]> {
  const { data, info } = await sharp(jpg).raw().toBuffer({ resolveWithObject: true });
  assert.equal(info.channels, 3);
  const range = (side: number, half: number): number[] => {
    const first = Math.floor((side * (1 + 4 * half)) / 8);
    return Array.from({ length: Math.max(1, Math.floor(side / 4)) }, (_, i) => first + i);
  };
  return [0, 1, 2, 3].map((quadrant) => {
    const rows = range(info.height, quadrant >> 1);
    const columns = range(info.width, quadrant & 1);
    const mean = (channel: number): number =>
      rows
        .flatMap((y) => columns.map((x) => data[3 * (y * info.width + x) + channel] as number))
        .reduce((a, b) => a + b) /
      (rows.length * columns.length);
    return [mean(0), mean(1), mean(2)];
  });
}

async function checkStored(result: ImageResult, expected: Stored, split: Split): Promise<void> {
  assert.ok(result.ok, JSON.stringify(result));
  const sizes = result.images.map(({ width, height }) => `${width}x${height}`);
  const square = (size: string): string => {
    const short = Math.min(...size.split('x').map(Number));
    return `${short}x${short}`;
  };
  assert.deepEqual(sizes, split === 'train' ? expected.sizes : expected.sizes.map(square));
  for (const image of result.images) {
    const seen = await colours(image);
    for (const [quadrant, wanted] of expected.colours.entries())
      for (const [channel, value] of (wanted ?? []).entries()) {
        const off = Math.abs((seen[quadrant]?.[channel] as number) - value);
        assert.ok(off <= expected.tolerance, `${split} ${image.width}x${image.height}: ${JSON.stringify(seen)}`);
      }
  }
}

async function check(file: string, expected: Stored | Rejected, orientation: 'ignore' | 'apply'): Promise<void> {
  const data = await read(file);
  if (expected.outcome === 'stored') {
    for (const split of ['train', 'val'] as const)
      await checkStored(await store(data, split, orientation), expected, split);
    return;
  }
  const result = await store(data, 'train', orientation);
  assert.ok(!result.ok, 'it was stored');
  assert.equal(result.code, expected.code, result.reason);
  assert.match(result.reason, expected.reason);
}

describe('an odd source', () => {
  for (const { file, what, expect, upright } of ODD_FILES)
    it(`${file} is ${expect.outcome}: ${what}`, async () => {
      await check(file, expect, 'ignore');
      await check(file, upright ?? expect, 'apply');
    });

  it('takes our own decoder for baseline JPEGs, libjpeg-turbo for others, and sharp where only colour management is right', async () => {
    const decoders = async (...names: string[]): Promise<string[]> => {
      const seen = new Set<string>();
      for (const name of names) {
        const result = await store(await read(`${name}.JPEG`), 'train', 'ignore');
        seen.add(result.ok ? result.decoder : result.code);
      }
      return [...seen];
    };
    const baseline = ['grey', 'restart', 'sampling-440', 'exif-garbage', 'two-images', 'fill-bytes'];
    assert.deepEqual(await decoders(...baseline), ['jpeg-kernel']);
    assert.deepEqual(await decoders('progressive', 'sampling-411', 'no-tables', 'segment-length-0'), ['libjpeg-turbo']);
    const managed = ['cmyk', 'ycck', 'rgb-adobe', 'rgb-ids', 'profile-p3', 'profile-grey', 'png'];
    assert.deepEqual(await decoders(...managed), ['sharp']);
  });

  it('is rejected when a few bytes a scan make a decoder walk over the image a thousand times', async () => {
    const bomb = progressive({ components: planes([[200, 40, 40, 200]]), width: 2048, height: 2048 }, 1000);
    const result = await store(bomb, 'train', 'ignore');
    assert.ok(!result.ok);
    assert.match(result.reason, /scans/);
  });
});

describe('the odd files', () => {
  it('are all there, tiny, and no other is', async () => {
    const names = ODD_FILES.map(({ file }) => file);
    assert.equal(new Set(names).size, names.length);
    assert.deepEqual((await readdir(join(ODD_FOLDER, 'files'))).sort(), [...names].sort());
    const sizes = await Promise.all(names.map(async (name) => (await read(name)).length));
    assert.ok(Math.max(...sizes) < 4096);
    assert.ok(sizes.reduce((sum, size) => sum + size) < 100_000);
  });

  it('have a row each in the table of the README', async () => {
    const text = await readFile(join(ODD_FOLDER, 'README.md'), 'utf8');
    const rows = text.split('\n').flatMap((line) => /^\| `([^`]+)`/.exec(line)?.[1] ?? []);
    assert.deepEqual(
      rows,
      ODD_FILES.map(({ file }) => file),
    );
  });

  it('that no encoder makes are what the generator writes, to the byte', async () => {
    for (const { file, make } of WRITTEN_HERE) assert.ok((await make()).equals(await read(file)), file);
  });
});

it('packing all odd files beside good ones counts every one, and lists each reject with its code and reason', async (t) => {
  const good = await photos();
  const odd: Record<string, Buffer> = {};
  for (const { file } of ODD_FILES) odd[`train/cat/${file}`] = await read(file);
  const { out, manifest } = await packed(t, { ...good, ...odd }, { onError: 'skip', maxRejects: 1, workers: 2 });

  const rejects = (await readFile(join(out, REJECTS_FILE), 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line): Reject => JSON.parse(line));
  const expected = ODD_FILES.flatMap(({ file, expect }) =>
    expect.outcome === 'rejected' ? [{ source: `train/cat/${file}`, ...expect }] : [],
  );
  const bySource = (a: { source: string }, b: { source: string }): number => (a.source < b.source ? -1 : 1);
  assert.deepEqual(
    rejects.map(({ source, code }) => ({ source, code })).sort(bySource),
    expected.map(({ source, code }) => ({ source, code })).sort(bySource),
  );
  for (const { source, reason } of expected)
    assert.match(rejects.find((reject) => reject.source === source)?.reason ?? '', reason, source);

  const sources = Object.keys(good).length + ODD_FILES.length;
  const { train, val } = manifest.splits;
  assert.equal(train.positions + val.positions, sources);
  assert.equal(train.samples + val.samples + rejects.length, sources);
  assert.equal(manifest.rejects.count, rejects.length);
  assert.equal(
    Object.values(manifest.rejects.byCode).reduce((sum, count) => sum + count, 0),
    rejects.length,
  );
  for (const { resolution } of parseBuckets(BUCKETS))
    assert.equal((await openSplit(out, manifest, 'train', resolution)).samples, train.samples);
  const stored = ODD_FILES.length - expected.length + 10;
  assert.equal(train.samples, stored);
});
