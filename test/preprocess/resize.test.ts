import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { dividedSize, REDUCE_GAP, reductionOf, shrinkOnLoad, storedSize } from '../../preprocess/resize.ts';

const side = fc.integer({ min: 1, max: 20_000 });
const shortSide = fc.integer({ min: 8, max: 512 });

test('the short side becomes the wanted one and the long side is rounded down, as torchvision does', () => {
  assert.deepEqual(storedSize({ width: 500, height: 375 }, 160, 'train'), {
    width: 213,
    height: 160,
    crop: { left: 0, top: 0, width: 213, height: 160 },
    notEnlarged: false,
  });
});

test('val keeps the central square', () => {
  assert.deepEqual(storedSize({ width: 375, height: 500 }, 160, 'val').crop, {
    left: 0,
    top: 26,
    width: 160,
    height: 160,
  });
});

test('an image is never enlarged, which is told, and its crop lies inside', () => {
  fc.assert(
    fc.property(side, side, shortSide, fc.constantFrom('train', 'val'), (width, height, shortSide, split) => {
      const stored = storedSize({ width, height }, shortSide, split);
      const short = Math.min(width, height);
      assert.ok(stored.width <= width && stored.height <= height);
      assert.equal(Math.min(stored.width, stored.height), Math.min(short, shortSide));
      assert.equal(stored.notEnlarged, short < shortSide);
      if (stored.notEnlarged) assert.deepEqual([stored.width, stored.height], [width, height]);
      const { crop } = stored;
      assert.ok(crop.left >= 0 && crop.left + crop.width <= stored.width);
      assert.ok(crop.top >= 0 && crop.top + crop.height <= stored.height);
    }),
  );
});

test('a source is reduced only as far as the resize has room for: before it, and while a JPEG is decoded', () => {
  assert.equal(reductionOf({ width: 2000, height: 1919 }, 320), 1);
  assert.equal(reductionOf({ width: 1920, height: 2000 }, 320), 2);
  assert.equal(shrinkOnLoad({ width: 8000, height: 5759 }, 320), 1);
  assert.equal(shrinkOnLoad({ width: 8000, height: 5760 }, 320), 5);
  assert.equal(shrinkOnLoad({ width: 10_560, height: 10_560 }, 320), 9);
  fc.assert(
    fc.property(side, side, shortSide, (width, height, shortSide) => {
      const enough = REDUCE_GAP * shortSide;
      for (const divisor of [reductionOf({ width, height }, shortSide), shrinkOnLoad({ width, height }, shortSide)]) {
        const size = dividedSize({ width, height }, divisor);
        assert.ok(divisor === 1 || Math.min(size.width, size.height) >= enough);
      }
    }),
  );
});
