import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refuseJpeg, refuseScans, refuseSize, within } from '../../preprocess/guard.ts';
import { readJpegHeader } from '../../preprocess/jpeg-header.ts';
import { MAX_ASPECT } from '../../preprocess/resize.ts';
import { picture } from './photos.ts';

test('sizes at the limits pass, and those beyond are refused by name', () => {
  assert.equal(refuseSize({ width: 10_000, height: 10_000 }), null);
  assert.equal(refuseSize({ width: 10_001, height: 10_000 })?.code, 'too-large');
  assert.equal(refuseSize({ width: 65_536, height: 700 })?.code, 'too-large');
  assert.equal(refuseSize({ width: 100 * MAX_ASPECT, height: 100 }), null);
  assert.equal(refuseSize({ width: 100, height: 100 * MAX_ASPECT + 1 })?.code, 'aspect-ratio');
});

test('even the smallest file that holds its image is not taken for one that lacks it', async () => {
  for (const options of [{}, { progressive: true }, { chromaSubsampling: '4:4:4' }, { optimiseCoding: true }]) {
    const flat = picture(1, 1).resize(2000, 1000, { kernel: 'nearest' });
    const file = await flat.jpeg({ quality: 1, ...options }).toBuffer();
    const header = readJpegHeader(file);
    assert.ok(header);
    assert.equal(refuseJpeg(header), null);
    assert.equal(refuseScans(header, file), null);
    assert.equal(refuseScans({ ...header, width: 10_000, height: 9000 }, file)?.code, 'truncated');
  }
});

test('work that takes too long is answered for, and its late failure disturbs nobody', async () => {
  assert.equal(await within(60_000, Promise.resolve(1)), 1);
  await assert.rejects(within(60_000, Promise.reject(new Error('at once'))), /at once/);
  let fail = (_: Error): void => {};
  const never = new Promise<number>((_, reject) => {
    fail = reject;
  });
  assert.equal(await within(1, never), 'timeout');
  fail(new Error('late'));
  await new Promise(setImmediate);
});
