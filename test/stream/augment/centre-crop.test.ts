import assert from 'node:assert/strict';
import { it } from 'node:test';
import { centreCrop } from '../../../stream/augment/centre-crop.ts';

it('the centre crop takes 224 of 256, as the field does', () => {
  assert.deepEqual(centreCrop(256, 256, 0.875), { x: 16, y: 16, width: 224, height: 224 });
  assert.deepEqual(centreCrop(341, 256, 0.875), { x: 58, y: 16, width: 224, height: 224 });
});

it('the centre crop has an odd border right and below, and never less than a pixel', () => {
  assert.deepEqual(centreCrop(5, 7, 0.8), { x: 0, y: 1, width: 4, height: 4 });
  assert.deepEqual(centreCrop(1, 3, 0.1), { x: 0, y: 1, width: 1, height: 1 });
});
