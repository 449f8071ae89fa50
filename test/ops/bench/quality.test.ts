import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { benchQuality } from '../../../ops/bench/quality.ts';

test('quality rows: a better JPEG is closer and larger, and nothing is missing', async () => {
  const photos = fileURLToPath(new URL('../../../../test/fixtures/photos/train/n00015388', import.meta.url));
  const { rows } = await benchQuality({ photos, images: 1, say: () => {} });
  assert.equal(rows.length, 3 * 3 * 3 * 2 + 3 * 2 + 3 * 2);
  for (const { psnr, psnrRgb, ssim, bytes } of rows)
    assert.ok(psnr > 25 && psnrRgb > 25 && ssim > 0.9 && ssim < 1 && bytes > 500);
  const at = (quality: number) =>
    rows.find(
      (row) =>
        row.study === 'settings' &&
        row.shortSide === 160 &&
        row.kernel === 'lanczos3' &&
        row.chroma === '4:2:0' &&
        row.quality === quality,
    );
  const [low, high] = [at(85), at(95)];
  assert.ok(low && high && low.psnr < high.psnr && low.ssim < high.ssim && low.bytes < high.bytes);
});
