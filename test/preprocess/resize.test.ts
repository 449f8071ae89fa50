import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { storedSize } from '../../preprocess/resize.ts';

test('the short side becomes the wanted one and the long side is rounded down, as torchvision does', () => {
  assert.deepEqual(storedSize({ width: 500, height: 375 }, 160, 'train'), {
    width: 213,
    height: 160,
    crop: null,
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
  const side = fc.integer({ min: 1, max: 5000 });
  fc.assert(
    fc.property(side, side, fc.integer({ min: 8, max: 512 }), (width, height, shortSide) => {
      const stored = storedSize({ width, height }, shortSide, 'val');
      const short = Math.min(width, height);
      assert.ok(stored.width <= width && stored.height <= height);
      assert.equal(Math.min(stored.width, stored.height), Math.min(short, shortSide));
      assert.equal(stored.notEnlarged, short < shortSide);
      if (stored.notEnlarged) assert.deepEqual([stored.width, stored.height], [width, height]);
      const crop = stored.crop;
      assert.ok(crop && crop.left >= 0 && crop.left + crop.width <= stored.width);
      assert.ok(crop.top >= 0 && crop.top + crop.height <= stored.height);
    }),
  );
});
