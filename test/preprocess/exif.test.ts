import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { exifOrientation, liesOnSide, lyingRectangle, upright } from '../../preprocess/exif.ts';
import type { Pixels } from '../../preprocess/kernel/resizer.ts';
import { picture } from './photos.ts';

/** A TIFF of one folder with one entry. */
function tiff({ little = false, tag = 0x0112, type = 3, value = 6 } = {}): Buffer {
  const block = Buffer.alloc(8 + 2 + 12 + 4);
  const u16 = (at: number, x: number) => (little ? block.writeUInt16LE(x, at) : block.writeUInt16BE(x, at));
  const u32 = (at: number, x: number) => (little ? block.writeUInt32LE(x, at) : block.writeUInt32BE(x, at));
  block.write(little ? 'II' : 'MM');
  u16(2, 42);
  u32(4, 8);
  u16(8, 1);
  u16(10, tag);
  u16(12, type);
  u32(14, 1);
  u16(18, value);
  return block;
}

test('the orientation is read in both byte orders', () => {
  for (let value = 1; value <= 8; value++)
    for (const little of [false, true]) assert.equal(exifOrientation(tiff({ little, value })), value);
});

test('what is broken, missing or no orientation counts as upright', () => {
  assert.equal(exifOrientation(tiff({ value: 0 })), 1);
  assert.equal(exifOrientation(tiff({ value: 9 })), 1);
  assert.equal(exifOrientation(tiff({ type: 4 })), 1);
  assert.equal(exifOrientation(tiff({ tag: 0x0110 })), 1);
  for (let length = 0; length < 22; length++) assert.equal(exifOrientation(tiff().subarray(0, length)), 1);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, little) => {
      const orientation = exifOrientation(Buffer.concat([Buffer.from(little ? 'II*\0' : 'MM\0*'), bytes]));
      assert.ok(orientation >= 1 && orientation <= 8);
    }),
  );
});

test('each orientation turns an image upright as sharp does', async () => {
  const { data } = await picture(7, 4).raw().toBuffer({ resolveWithObject: true });
  const image = { data, width: 7, height: 4 };
  for (let orientation = 1; orientation <= 8; orientation++) {
    const tagged = await picture(7, 4).withMetadata({ orientation }).png().toBuffer();
    const expected = await sharp(tagged).autoOrient().raw().toBuffer({ resolveWithObject: true });
    const got = upright(orientation, image);
    assert.deepEqual([got.width, got.height], [expected.info.width, expected.info.height]);
    assert.ok(expected.data.equals(got.data), `orientation ${orientation}`);
    assert.equal(liesOnSide(orientation), got.width === 4);
  }
});

test('a part of the upright image is the upright part of the lying one', () => {
  const lying: Pixels = { data: Uint8Array.from({ length: 7 * 4 * 3 }, (_, i) => i), width: 7, height: 4 };
  const part = (image: Pixels, { left, top, width, height }: ReturnType<typeof lyingRectangle>) => ({
    data: Uint8Array.from(
      Array.from({ length: height }, (_, y) => {
        const from = ((top + y) * image.width + left) * 3;
        return [...image.data.subarray(from, from + width * 3)];
      }).flat(),
    ),
    width,
    height,
  });
  for (let orientation = 1; orientation <= 8; orientation++) {
    const whole = upright(orientation, lying);
    const rectangle = { left: 1, top: 2, width: 3, height: 2 };
    const there = lyingRectangle(orientation, whole, rectangle);
    assert.deepEqual(upright(orientation, part(lying, there)), part(whole, rectangle), `orientation ${orientation}`);
  }
});
