import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault, parseBuckets } from '#shards';

test('a bucket stores 32 pixels more than its resolution unless a short side is given', () => {
  assert.deepEqual(parseBuckets('288,128, 224:240'), [
    { resolution: 128, shortSide: 160 },
    { resolution: 224, shortSide: 240 },
    { resolution: 288, shortSide: 320 },
  ]);
});

test('what is no list of buckets is wrong usage and names the part', () => {
  for (const [text, part] of [
    ['', "''"],
    ['128,,224', "''"],
    ['128:100', "'128:100'"],
    ['12x', "'12x'"],
    ['4', "'4'"],
    ['224:5000', "'224:5000'"],
    ['128,128:200', 'resolution 128 twice'],
  ] as const)
    assert.throws(
      () => parseBuckets(text),
      (error) => error instanceof Fault && error.code === 'bad-buckets' && error.exit === 2 && error.received === part,
    );
});
