import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lanczos, luma, psnr, ssim } from '../../../ops/bench/image-quality.ts';

const ramp = (width: number, height: number) => Float64Array.from({ length: width * height }, (_, i) => (i * 7) % 256);

test('luma weighs green most, and white is 255', () => {
  assert.deepEqual([...luma([255, 0, 0, 0, 255, 0, 0, 0, 255])].map(Math.round), [76, 150, 29]);
  assert.equal(Math.round(luma([255, 255, 255])[0] as number), 255);
});

test('PSNR: an error of 1 everywhere is 48.13 dB', () => {
  const image = ramp(16, 16);
  assert.equal(
    psnr(
      image,
      image.map((value) => value + 1),
    ).toFixed(2),
    '48.13',
  );
});

test('SSIM is 1 for the same image, nearly 1 for a shift of brightness, and low where structure is lost', () => {
  const image = ramp(32, 24);
  const flat = image.map(() => 127.5);
  assert.equal(ssim(image, image, 32), 1);
  const brighter = ssim(
    image,
    image.map((value) => value + 2),
    32,
  );
  assert.ok(brighter > 0.99 && brighter < 1);
  // Only the means agree: (2μ² + c₁) c₂ / ((2μ² + c₁)(σ² + c₂)).
  assert.ok(ssim(image, flat, 32) < 0.02);
});

test('the reference resize keeps a flat image, a line of its own size, and the mean', () => {
  const flat = { data: new Uint8Array(30 * 20 * 3).fill(77), width: 30, height: 20 };
  assert.ok(lanczos(flat, 13, 9).every((value) => Math.abs(value - 77) < 1e-9));
  const data = Uint8Array.from({ length: 30 * 20 * 3 }, (_, i) => (i * 31) % 256);
  const same = lanczos({ data, width: 30, height: 20 }, 30, 20);
  assert.ok(same.every((value, i) => Math.abs(value - (data[i] as number)) < 1e-9));
});
