import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Draws } from '../../../shards/random.ts';
import { centreCrop } from '../../../stream/augment/centre-crop.ts';
import { LAMBDA_ONE, lambdaSampler, partnerShift } from '../../../stream/augment/mixup.ts';
import { randomResizedCrop } from '../../../stream/augment/random-resized-crop.ts';

const drawsOf = (index: number) => new Draws({ seed: 5, purpose: 'test', index });

describe('RandomResizedCrop', () => {
  const crop = randomResizedCrop({ scale: [0.35, 1], ratio: [0.75, 4 / 3] });

  it('stays inside the image', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 400 }),
        fc.integer({ min: 1, max: 400 }),
        fc.nat(),
        (width, height, index) => {
          const box = crop(width, height, drawsOf(index));
          assert.ok(box.x >= 0 && box.y >= 0 && box.width >= 1 && box.height >= 1, JSON.stringify(box));
          assert.ok(box.x + box.width <= width && box.y + box.height <= height, JSON.stringify(box));
        },
      ),
    );
  });

  it('draws area and ratio from their ranges, evenly', () => {
    const areas: number[] = [];
    for (let i = 0; i < 4000; i++) {
      const { width, height } = crop(500, 500, drawsOf(i));
      areas.push((width * height) / 250_000);
      assert.ok(width / height > 0.74 && width / height < 1.35);
    }
    assert.ok(Math.min(...areas) < 0.37 && Math.min(...areas) > 0.34);
    // Large areas of an uneven ratio do not fit and are drawn again, so the mean lies below 0.675.
    const mean = areas.reduce((a, b) => a + b) / areas.length;
    assert.ok(mean > 0.6 && mean < 0.675, String(mean));
  });

  it('falls back to the largest central box where no draw fits', () => {
    assert.deepEqual(crop(400, 4, drawsOf(1)), { x: 197, y: 0, width: 5, height: 4 });
    assert.deepEqual(crop(4, 400, drawsOf(1)), { x: 0, y: 197, width: 4, height: 5 });
  });
});

describe('the centre crop', () => {
  it('takes 224 of 256, as the field does', () => {
    assert.deepEqual(centreCrop(256, 256, 0.875), { x: 16, y: 16, width: 224, height: 224 });
    assert.deepEqual(centreCrop(341, 256, 0.875), { x: 58, y: 16, width: 224, height: 224 });
  });
});

describe('MixUp', () => {
  // Quantiles of Beta(α, α), from scipy.stats.beta.ppf.
  const quantiles: Record<string, [probability: number, value: number][]> = {
    0.2: [
      [0.25, 0.023815],
      [0.3, 0.057881],
      [0.4, 0.216342],
      [0.5, 0.5],
      [0.6, 0.783658],
      [0.75, 0.976185],
    ],
    0.5: [
      [0.1, 0.024472],
      [0.25, 0.146447],
      [0.4, 0.345492],
      [0.5, 0.5],
      [0.75, 0.853553],
      [0.9, 0.975528],
    ],
    1: [
      [0.1, 0.1],
      [0.25, 0.25],
      [0.5, 0.5],
      [0.9, 0.9],
    ],
  };

  for (const [alpha, expected] of Object.entries(quantiles))
    it(`draws λ from Beta(${alpha}, ${alpha})`, () => {
      const sample = lambdaSampler(Number(alpha));
      const drawn = Array.from({ length: 40_000 }, (_, i) => sample(drawsOf(i)) / LAMBDA_ONE).sort((a, b) => a - b);
      assert.ok((drawn[0] ?? -1) >= 0 && (drawn.at(-1) ?? 2) <= 1);
      for (const [probability, value] of expected) {
        const below = drawn.filter((lambda) => lambda <= value + 0.5 / LAMBDA_ONE).length / drawn.length;
        assert.ok(Math.abs(below - probability) < 0.012, `P(λ ≤ ${value}) = ${below}, not ${probability}`);
      }
    });

  it('mixes no sample with itself', () => {
    for (let n = 2; n < 20; n++)
      for (let i = 0; i < 50; i++) {
        const shift = partnerShift(n, drawsOf(i));
        assert.ok(shift >= 1 && shift < n);
      }
  });
});
