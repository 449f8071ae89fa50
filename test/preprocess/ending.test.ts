import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endsEarly } from '../../preprocess/ending.ts';
import { picture } from './photos.ts';

test('a whole image ends where it should, and half of it does not', async () => {
  const source = () => picture(64, 64);
  for (const [bytes, what] of [
    [await source().jpeg().toBuffer(), 'JPEG'],
    [await source().jpeg({ progressive: true }).toBuffer(), 'JPEG'],
    [await source().png().toBuffer(), 'PNG'],
    [await source().webp().toBuffer(), 'WebP'],
    [await source().gif().toBuffer(), 'GIF'],
  ] as const) {
    assert.equal(endsEarly(bytes, what), false, what);
    assert.equal(endsEarly(Buffer.concat([bytes, Buffer.from('trailing')]), what), false, what);
    assert.equal(endsEarly(bytes.subarray(0, bytes.length >> 1), what), true, what);
    assert.equal(endsEarly(bytes.subarray(0, 11), what), true, what);
  }
});

test("a thumbnail's end inside the header is not the image's", async () => {
  const whole = await picture(64, 64).jpeg().toBuffer();
  const thumbnail = await picture(8, 8).jpeg().toBuffer();
  const length = Buffer.alloc(2);
  length.writeUInt16BE(thumbnail.length + 2);
  const segment = Buffer.concat([Buffer.from('ffe1', 'hex'), length, thumbnail]);
  const bytes = Buffer.concat([whole.subarray(0, 2), segment, whole.subarray(2)]);
  assert.equal(endsEarly(bytes, 'JPEG'), false);
  assert.equal(endsEarly(bytes.subarray(0, bytes.length - 40), 'JPEG'), true);
});
