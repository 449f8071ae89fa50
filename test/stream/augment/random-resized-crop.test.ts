import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Draws } from '../../../shards/random.ts';
import { randomResizedCrop } from '../../../stream/augment/random-resized-crop.ts';
import { assertFollows, evenly, ksDistance } from './distance.ts';

const drawsOf = (index: number) => new Draws({ seed: 5, purpose: 'test', index });

const DEFAULTS = { scale: [0.35, 1], ratio: [0.75, 4 / 3] } as const;
const crop = randomResizedCrop(DEFAULTS);

/** Large enough for whole pixels not to count. */
const SIDE = 2000;
const boxes = (take: typeof crop) => Array.from({ length: 5000 }, (_, i) => take(SIDE, SIDE, drawsOf(i)));

describe('RandomResizedCrop', () => {
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

  it('draws the area evenly and the ratio log-uniformly where every draw fits', () => {
    // A square takes any ratio from 3/4 to 4/3 up to three quarters of its area.
    const drawn = boxes(randomResizedCrop({ ...DEFAULTS, scale: [0.35, 0.75] }));
    const [low, high] = DEFAULTS.ratio.map(Math.log) as [number, number];
    assertFollows(
      drawn.map(({ width, height }) => (width * height) / SIDE ** 2),
      evenly(0.35, 0.75),
    );
    assertFollows(
      drawn.map(({ width, height }) => Math.log(width / height)),
      evenly(low, high),
    );
  });

  it('draws again what does not fit, so that large areas are rarer, as often as the ratio tells', () => {
    const areas = boxes(crop).map(({ width, height }) => (width * height) / SIDE ** 2);
    // An area s fits into a square with the share min(1, ln s / ln ¾) of the ratios.
    const most = Math.log(3 / 4);
    const above = (s: number) => (s * Math.log(s) - s) / most;
    const part = (s: number) => (s <= 0.75 ? s - 0.35 : 0.4 + above(s) - above(0.75));
    const law = (s: number) => (s <= 0.35 ? 0 : s >= 1 ? 1 : part(s) / part(1));
    assertFollows(areas, law);
    assert.ok(ksDistance(areas, evenly(0.35, 1)) > 0.1, 'even draws would be told apart');
  });

  it('draws the place evenly among all that fit', () => {
    const drawn = boxes(crop).filter(({ width, height }) => Math.max(width, height) < 0.9 * SIDE);
    const share = (at: number, size: number) => (at + 0.5) / (SIDE - size + 1);
    assertFollows(
      drawn.map(({ x, width }) => share(x, width)),
      evenly(0, 1),
    );
    assertFollows(
      drawn.map(({ y, height }) => share(y, height)),
      evenly(0, 1),
    );
  });

  it('falls back to the largest central box where no draw fits', () => {
    assert.deepEqual(crop(400, 4, drawsOf(1)), { x: 197, y: 0, width: 5, height: 4 });
    assert.deepEqual(crop(4, 400, drawsOf(1)), { x: 0, y: 197, width: 4, height: 5 });
  });
});
