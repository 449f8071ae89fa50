import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sampleKey, shardStem } from '#shards';

test('a key is the position and the stem of the file', () => {
  assert.equal(sampleKey(7, 'train/n01440764/n01440764_10026.JPEG'), '00000007-n01440764_10026');
  assert.equal(sampleKey(12345678, 'val/a/b/my photo.v2.jpg'), '12345678-my_photo_v2');
  assert.equal(sampleKey(0, 'train/a/.hidden'), '00000000-_hidden');
  assert.equal(shardStem('val', 12), 'val-000012');
});

test('a key has no dot, fits a USTAR name and differs for every position', () => {
  const position = fc.nat(99_999_999);
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), position, position, (name, p, q) => {
      const key = sampleKey(p, `train/class/${name}`);
      assert.match(key, /^\d{8}-[A-Za-z0-9_-]{0,64}$/);
      assert.ok(`${key}.json`.length <= 100);
      assert.equal(p === q, key === sampleKey(q, `train/class/${name}`));
    }),
  );
});
