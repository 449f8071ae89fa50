import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { Fault, openSplit, readManifest, ShardFiles, type Split } from '#shards';
import { temporaryFolder } from '../shards/dataset.ts';
import { jpeg, type Packed, packed, photos, picture, treeOf } from './photos.ts';

interface Decoded {
  readonly label: number;
  readonly width: number;
  readonly height: number;
  readonly format: string;
  readonly channels: number;
  readonly chroma: string;
  readonly progressive: boolean;
}

async function decoded({ out, manifest }: Packed, split: Split, resolution: number): Promise<Decoded[]> {
  const index = await openSplit(out, manifest, split, resolution);
  const files = new ShardFiles(out);
  const images: Decoded[] = [];
  for (let i = 0; i < index.samples; i++) {
    const location = index.locate(i);
    const { label, width, height } = location;
    const found = await sharp(files.readSync(location)).metadata();
    assert.deepEqual([found.width, found.height], [width, height]);
    const { format, channels, isProgressive: progressive = false, chromaSubsampling: chroma = '' } = found;
    images.push({ label, width, height, format, channels, chroma, progressive });
  }
  files.close();
  return images;
}

test('photos become baseline 4:2:0 JPEGs at the short side of each bucket, val as central squares', async (t) => {
  const result = await packed(t, await photos());
  const { dataset, splits, rejects } = result.manifest;
  assert.deepEqual(dataset.counts, { train: 10, val: 3 });
  assert.deepEqual(
    dataset.classes.map(({ wnid }) => wnid),
    ['cat', 'dog'],
  );
  assert.deepEqual(rejects, { count: 0, byCode: {}, sha256: createHash('sha256').digest('hex') });
  assert.deepEqual(
    splits.train.buckets['32']?.shards.map(({ samples }) => samples),
    [4, 4, 2],
  );
  for (const [resolution, shortSide] of [
    [16, 20],
    [32, 40],
  ] as const) {
    const train = await decoded(result, 'train', resolution);
    assert.ok(train.every(({ height, width }) => height === shortSide && width > shortSide));
    assert.deepEqual(train.filter(({ label }) => label === 0).length, 5);
    const val = await decoded(result, 'val', resolution);
    assert.ok(val.every(({ width, height }) => width === shortSide && height === shortSide));
    for (const { format, channels, chroma, progressive } of [...train, ...val])
      assert.deepEqual(
        { format, channels, chroma, progressive },
        { format: 'jpeg', channels: 3, chroma: '4:2:0', progressive: false },
      );
  }
  assert.deepEqual(await readManifest(result.out), result.manifest);
});

test('one worker, two workers and a second run give the same tree to the byte; another seed does not', async (t) => {
  const files = { ...(await photos()), 'train/cat/broken.JPEG': 'text' };
  const trees = [];
  for (const [workers, seed] of [
    [1, 0],
    [2, 0],
    [2, 0],
    [2, 1],
  ] as const)
    trees.push(await treeOf((await packed(t, files, { workers, seed, onError: 'skip' })).out));
  const [one, two, again, other] = trees;
  // A tar and two indexes a shard, a listing a split and bucket, the manifest and the rejects.
  assert.equal(Object.keys(one ?? {}).length, 2 * ((3 + 1) * 3 + 2) + 2);
  assert.deepEqual(two, one);
  assert.deepEqual(again, one);
  assert.notDeepEqual(other, one);
});

test('samples stand in the same order in every bucket', async (t) => {
  const result = await packed(t, await photos());
  const keysOf = async (resolution: number): Promise<string> =>
    (await readFile(join(result.out, `${resolution}/train-000001.idx`), 'latin1')).replaceAll(/ \d+ \d+ /g, ' ');
  assert.equal(await keysOf(16), await keysOf(32));
});

test('a reject leaves its own shard short in every bucket and the others as they were', async (t) => {
  const files = await photos();
  const whole = await packed(t, files, { onError: 'skip' });
  const index = await readFile(join(whole.out, '16/train-000000.idx'), 'latin1');
  const stem = /\d{8}-(photo_\d)\.jpg/.exec(index)?.[1] ?? '';
  const path = Object.keys(files).find((name) => name.startsWith('train/') && name.includes(stem)) ?? '';
  const short = await packed(t, { ...files, [path]: 'no photo' }, { onError: 'skip' });
  const before = await treeOf(whole.out);
  const after = await treeOf(short.out);
  const changed = Object.keys(before).filter((name) => before[name] !== after[name]);
  const shard = ['idx', 'index.safetensors', 'tar'].map((suffix) => `train-000000.${suffix}`);
  assert.deepEqual(
    changed.sort(),
    [
      ...['16', '32'].flatMap((r) => [...shard, 'train.json'].map((name) => `${r}/${name}`)),
      'manifest.json',
      'rejects.jsonl',
    ].sort(),
  );
  assert.deepEqual(
    Object.values(short.manifest.splits.train.buckets).map(({ shards }) => shards.map(({ samples }) => samples)),
    [
      [3, 4, 2],
      [3, 4, 2],
    ],
  );
});

test('PNG named .JPEG, grey, CMYK, 16-bit, transparent and progressive sources are stored as 3-channel JPEGs', async (t) => {
  const source = () => picture(60, 50);
  const files = {
    'train/a/grey.JPEG': await source().greyscale().jpeg().toBuffer(),
    'train/a/cmyk.JPEG': await source().toColourspace('cmyk').jpeg().toBuffer(),
    'train/a/png.JPEG': await source().png().toBuffer(),
    'train/a/palette.png': await source().png({ palette: true }).toBuffer(),
    'train/a/deep.png': await source().toColourspace('rgb16').png().toBuffer(),
    'train/a/grey16.png': await source().toColourspace('grey16').png().toBuffer(),
    'train/a/alpha.webp': await source().ensureAlpha(0.5).webp().toBuffer(),
    'train/a/progressive': await source().jpeg({ progressive: true }).toBuffer(),
    'val/a/plain.gif': await source().gif().toBuffer(),
  };
  const result = await packed(t, files);
  assert.equal(result.manifest.dataset.counts.train, 8);
  const images = [...(await decoded(result, 'train', 16)), ...(await decoded(result, 'val', 16))];
  for (const { format, channels, progressive } of images)
    assert.deepEqual({ format, channels, progressive }, { format: 'jpeg', channels: 3, progressive: false });
});

test('colours survive: a CMYK and a grey source look like their originals', async (t) => {
  const red = () => sharp({ create: { width: 50, height: 50, channels: 3, background: '#a08070' } });
  const result = await packed(t, {
    'train/a/0.jpg': await red().toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer(),
    'train/b/0.jpg': await sharp({ create: { width: 50, height: 50, channels: 3, background: '#777777' } })
      .greyscale()
      .jpeg()
      .toBuffer(),
    'val/a/0.jpg': await red().jpeg({ quality: 95 }).toBuffer(),
  });
  const files = new ShardFiles(result.out);
  t.after(() => files.close());
  const colours = new Map<number, number[]>();
  const index = await openSplit(result.out, result.manifest, 'train', 32);
  for (const i of [0, 1]) {
    const location = index.locate(i);
    const { channels } = await sharp(files.readSync(location)).stats();
    colours.set(
      location.label,
      channels.map(({ mean }) => mean),
    );
  }
  const close = (found: number[] | undefined, expected: number[], within: number): void => {
    for (const [i, value] of expected.entries())
      assert.ok(Math.abs((found?.[i] ?? -999) - value) <= within, `${found}`);
  };
  close(colours.get(0), [0xa0, 0x80, 0x70], 6);
  close(colours.get(1), [0x77, 0x77, 0x77], 2);
});

test('a source smaller than the bucket keeps its size and is counted', async (t) => {
  const result = await packed(t, {
    'train/a/small.jpg': await jpeg(30, 24),
    'train/a/tiny.jpg': await jpeg(9, 12),
    'train/a/large.jpg': await jpeg(90, 60),
    'val/a/small.jpg': await jpeg(30, 24),
  });
  const { train, val } = result.manifest.splits;
  assert.deepEqual([train.buckets['16']?.notEnlarged, train.buckets['32']?.notEnlarged], [1, 2]);
  assert.deepEqual([val.buckets['16']?.notEnlarged, val.buckets['32']?.notEnlarged], [0, 1]);
  const sizes = (await decoded(result, 'train', 32)).map(({ width, height }) => `${width}x${height}`);
  assert.deepEqual(sizes.sort(), ['30x24', '60x40', '9x12']);
  assert.deepEqual(
    (await decoded(result, 'val', 32)).map(({ width, height }) => [width, height]),
    [[24, 24]],
  );
});

test('what was ignored is told', async (t) => {
  const notices: string[] = [];
  await packed(t, { ...(await photos()), 'train/stray.txt': '' }, { onNotice: (notice) => notices.push(notice) });
  assert.equal(notices.length, 1);
  assert.match(notices[0] ?? '', /train\/stray\.txt/);
});

test('a target that the system refuses is a failure with a name', async (t) => {
  const dir = await temporaryFolder(t);
  await assert.rejects(
    packed(t, await photos(), { out: join(dir, 'x'.repeat(300)) }),
    (error) => error instanceof Fault && error.code === 'write-failed' && error.received.includes('ENAMETOOLONG'),
  );
  assert.deepEqual(await readdir(dir), []);
});
