import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Draws } from '../../../shards/random.ts';
import { LAMBDA_ONE } from '../../../stream/augment/mixup.ts';
import { blend, cropAndResize } from './oracle.ts';

const noise = (width: number, height: number) => {
  const draws = new Draws({ seed: 1, purpose: 'noise' });
  return { pixels: Uint8Array.from({ length: width * height * 3 }, () => draws.below(256)), width, height };
};
const whole = ({ width, height }: { width: number; height: number }) => ({ x: 0, y: 0, width, height });
const resized = (source: ReturnType<typeof noise>, crop: ReturnType<typeof whole>, size: number, flip = false) => {
  const out = new Uint8Array(size * size * 3);
  cropAndResize(source, crop, size, flip, out);
  return out;
};

describe('the plain crop and resize', () => {
  it('copies the crop where its size is the output size', () => {
    const source = noise(9, 7);
    const out = resized(source, { x: 3, y: 2, width: 4, height: 4 }, 4);
    for (let y = 0; y < 4; y++)
      assert.deepEqual(
        out.subarray(y * 12, (y + 1) * 12),
        source.pixels.subarray(((y + 2) * 9 + 3) * 3, ((y + 2) * 9 + 7) * 3),
      );
  });

  it('mirrors left and right when flipped', () => {
    const source = noise(20, 20);
    const plain = resized(source, whole(source), 8);
    const flipped = resized(source, whole(source), 8, true);
    for (let y = 0; y < 8; y++)
      for (let x = 0; x < 8; x++)
        assert.deepEqual(
          flipped.subarray((y * 8 + x) * 3, (y * 8 + x) * 3 + 3),
          plain.subarray((y * 8 + 7 - x) * 3, (y * 8 + 7 - x) * 3 + 3),
        );
  });

  it('averages all pixels it shrinks: an even image stays even, and the mean is kept', () => {
    const even = { pixels: new Uint8Array(30 * 20 * 3).fill(77), width: 30, height: 20 };
    assert.ok(resized(even, whole(even), 7).every((value) => value === 77));
    const source = noise(64, 64);
    const mean = (values: Uint8Array) => values.reduce((a, b) => a + b, 0) / values.length;
    assert.ok(Math.abs(mean(resized(source, whole(source), 8)) - mean(source.pixels)) < 2);
  });

  it('weights by a triangle as wide as the scale (halving 1 2 3 4: Pillow gives the same)', () => {
    // Output pixel 0 is centred on 1.0 with support 2: weights of the pixels at 0.5, 1.5, 2.5 are ¾, ¾, ¼.
    const row = { pixels: Uint8Array.from([10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40]), width: 4, height: 1 };
    const out = resized(row, whole(row), 2);
    const left = Math.floor((0.75 * 10 + 0.75 * 20 + 0.25 * 30) / 1.75 + 0.5);
    const right = Math.floor((0.25 * 20 + 0.75 * 30 + 0.75 * 40) / 1.75 + 0.5);
    assert.deepEqual([...out.subarray(0, 6)], [left, left, left, right, right, right]);
  });
});

describe('the plain blend', () => {
  it('is exact: λ = 1 keeps the image, λ = 0 gives the partner, between is rounded to the nearest', () => {
    const images = Uint8Array.from([0, 10, 100, 110, 200, 255]);
    const blended = (lambda: number) => {
      const out = new Uint8Array(6);
      blend(images, out, 2, 1, lambda);
      return [...out];
    };
    assert.deepEqual(blended(LAMBDA_ONE), [0, 10, 100, 110, 200, 255]);
    assert.deepEqual(blended(0), [100, 110, 200, 255, 0, 10]);
    assert.deepEqual(blended(LAMBDA_ONE / 4), [75, 85, 175, 219, 50, 71]);
  });
});
