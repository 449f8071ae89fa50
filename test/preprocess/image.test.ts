import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp, { type Sharp } from 'sharp';
import { type ImageRequest, type ImageResult, type PixelSettings, storeImage } from '../../preprocess/image.ts';
import { readJpegHeader } from '../../preprocess/jpeg-header.ts';
import { picture } from './photos.ts';

const PIXELS: PixelSettings = { kernel: 'lanczos3', quality: 90, chroma: '4:2:0', orientation: 'ignore' };
const FINEST: PixelSettings = { ...PIXELS, quality: 100, chroma: '4:4:4' };

function request(shortSides: readonly number[], more: Partial<ImageRequest> = {}): ImageRequest {
  const buckets = shortSides.map((shortSide) => ({ resolution: shortSide, shortSide }));
  return { split: 'train', buckets, pixels: PIXELS, timeoutMs: 60_000, ...more };
}

type Stored = Extract<ImageResult, { ok: true }>;

async function stored(file: Buffer, wanted: ImageRequest): Promise<Stored> {
  const result = await storeImage(file, wanted);
  assert.ok(result.ok, JSON.stringify(result));
  return result;
}

const rgb = (jpg: Uint8Array): Promise<Buffer> => sharp(jpg).raw().toBuffer();

function meanDifference(a: Uint8Array, b: Uint8Array): number {
  assert.equal(a.length, b.length);
  return a.reduce((sum, value, i) => sum + Math.abs(value - (b[i] as number)), 0) / a.length;
}

/** Smooth enough that only gross errors differ. */
async function photo(width: number, height: number): Promise<Sharp> {
  const data = await picture(60, 45).blur(4).resize(width, height, { fit: 'fill' }).raw().toBuffer();
  return sharp(data, { raw: { width, height, channels: 3 } });
}

const oriented = (orientation: number) => ({ IFD0: { Orientation: String(orientation) } });

test('one decode gives a baseline JPEG a bucket, with the wanted chroma and no metadata', async () => {
  const file = await (await photo(300, 200)).withExif(oriented(6)).jpeg().toBuffer();
  const { images, decoder } = await stored(file, request([20, 40, 250]));
  assert.equal(decoder, 'jpeg-kernel');
  assert.deepEqual(
    images.map(({ width, height, notEnlarged }) => [width, height, notEnlarged]),
    [
      [30, 20, false],
      [60, 40, false],
      [300, 200, true],
    ],
  );
  for (const { jpg, width, height } of images) {
    const header = readJpegHeader(Buffer.from(jpg));
    assert.ok(header);
    const { coding, components, profile, orientation } = header;
    assert.deepEqual([header.width, header.height, coding], [width, height, 'sequential']);
    assert.deepEqual([components[0]?.h, components[0]?.v, profile, orientation], [2, 2, false, 1]);
    assert.equal(Buffer.from(jpg).indexOf('Exif'), -1);
  }
  const [full] = (await stored(file, request([40], { pixels: { ...PIXELS, chroma: '4:4:4' } }))).images;
  assert.equal(readJpegHeader(Buffer.from(full?.jpg ?? []))?.components[0]?.h, 1);
});

test('all decoders and all formats store the same picture', async () => {
  const source = await photo(160, 120);
  const expected = await source.clone().resize(80, 60, { fit: 'fill' }).raw().toBuffer();
  for (const [file, decoder] of [
    [await source.clone().jpeg({ quality: 98 }).toBuffer(), 'jpeg-kernel'],
    [await source.clone().jpeg({ quality: 98, progressive: true }).toBuffer(), 'libjpeg-turbo'],
    [await source.clone().withIccProfile('srgb').jpeg({ quality: 98 }).toBuffer(), 'sharp'],
    [await source.clone().png().toBuffer(), 'sharp'],
    [await source.clone().webp({ lossless: true }).toBuffer(), 'sharp'],
    [await source.clone().tiff().toBuffer(), 'sharp'],
  ] as const) {
    const result = await stored(file, request([60]));
    assert.equal(result.decoder, decoder);
    const difference = meanDifference(await rgb(result.images[0]?.jpg as Uint8Array), expected);
    assert.ok(difference < 2.5, `${decoder}: ${difference}`);
  }
});

test('the same file gives the same bytes, whatever came before it', async () => {
  const file = await (await photo(300, 200)).jpeg().toBuffer();
  const first = await stored(file, request([20, 40]));
  await stored(await (await photo(2000, 1500)).png().toBuffer(), request([64]));
  assert.deepEqual(await stored(file, request([20, 40])), first);
  const [alone] = (await stored(file, request([40]))).images;
  assert.deepEqual(alone, first.images[1]);
});

test('val stores the central square of what train stores', async () => {
  const file = await (await photo(320, 200)).jpeg().toBuffer();
  const pixels = FINEST;
  const [train] = (await stored(file, request([50], { pixels }))).images;
  const [val] = (await stored(file, request([50], { pixels, split: 'val' }))).images;
  assert.deepEqual([val?.width, val?.height], [50, 50]);
  const centre = await sharp(train?.jpg).extract({ left: 15, top: 0, width: 50, height: 50 }).raw().toBuffer();
  assert.ok(meanDifference(await rgb(val?.jpg as Uint8Array), centre) < 1);
});

test('an orientation that is applied turns sizes, crops and pixels, in every format', async () => {
  const pixels = { ...FINEST, orientation: 'apply' } as const;
  for (const format of ['jpeg', 'png'] as const)
    for (let orientation = 1; orientation <= 8; orientation++) {
      const file = await (await photo(121, 80)).withExif(oriented(orientation)).toFormat(format).toBuffer();
      const turned = await sharp(file).autoOrient().png().toBuffer();
      for (const split of ['train', 'val'] as const) {
        const [got] = (await stored(file, request([40], { pixels, split }))).images;
        const [expected] = (await stored(turned, request([40], { pixels, split }))).images;
        assert.deepEqual([got?.width, got?.height], [expected?.width, expected?.height]);
        const difference = meanDifference(await rgb(got?.jpg as Uint8Array), await rgb(expected?.jpg as Uint8Array));
        assert.ok(difference < 2, `${format} ${orientation} ${split}: ${difference}`);
      }
    }
});

test('a source far larger than its buckets is reduced first, and looks the same', async () => {
  const source = await photo(3000, 2250);
  const jpeg = await source.clone().jpeg({ quality: 95 }).toBuffer();
  const png = await source.clone().png({ compressionLevel: 1 }).toBuffer();
  // Reduced while decoded, after decoding, and not at all.
  for (const [file, shortSide, decoder] of [
    [jpeg, 64, 'sharp'],
    [jpeg, 300, 'jpeg-kernel'],
    [png, 64, 'sharp'],
    [jpeg, 800, 'jpeg-kernel'],
  ] as const) {
    const result = await stored(file, request([shortSide], { pixels: FINEST }));
    assert.equal(result.decoder, decoder);
    const [image] = result.images;
    assert.ok(image);
    const { width, height } = image;
    const expected = await source.clone().resize(width, height, { fit: 'fill' }).raw().toBuffer();
    const difference = meanDifference(await rgb(image.jpg), expected);
    assert.ok(difference < 2.5, `${shortSide}: ${difference}`);
  }
});

test('an image that takes too long is refused by name', async () => {
  const file = await (await photo(4000, 3000)).png({ compressionLevel: 1 }).toBuffer();
  const result = await storeImage(file, request([64], { timeoutMs: 1 }));
  assert.deepEqual(result, { ok: false, code: 'timeout', reason: 'is a PNG that took longer than 1 ms to decode' });
});
