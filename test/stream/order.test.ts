import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { epochOrder, orderCache } from '../../stream/order.ts';

const shards = fc.array(fc.nat(9), { maxLength: 12 });

describe('the order of an epoch', () => {
  it('holds every sample once', () => {
    fc.assert(
      fc.property(shards, fc.nat(5), fc.integer({ min: 1, max: 5 }), (shardSamples, epoch, window) => {
        const total = shardSamples.reduce((a, b) => a + b, 0);
        const order = epochOrder(shardSamples, { seed: 1, epoch, window });
        assert.deepEqual(
          [...order].sort((a, b) => a - b),
          Array.from({ length: total }, (_, i) => i),
        );
      }),
    );
  });

  it('keeps a window’s samples together: no more than W shards are read at a time', () => {
    const shardSamples = new Array<number>(12).fill(10);
    const order = epochOrder(shardSamples, { seed: 3, epoch: 0, window: 3 });
    for (let begin = 0; begin < order.length; begin += 30)
      assert.equal(new Set([...order.subarray(begin, begin + 30)].map((sample) => Math.floor(sample / 10))).size, 3);
  });

  it('differs between epochs and seeds, and not between calls', () => {
    const of = (seed: number, epoch: number) => [...epochOrder([20, 20], { seed, epoch, window: 2 })].join();
    assert.equal(new Set([of(1, 0), of(1, 1), of(2, 0)]).size, 3);
    assert.equal(of(1, 0), of(1, 0));
  });

  it('is the same from the cache, also after the epoch was pushed out', () => {
    const cached = orderCache([5, 6, 7], { seed: 1, window: 2 });
    for (const epoch of [0, 1, 2, 3, 4, 0, 3])
      assert.deepEqual(cached(epoch), epochOrder([5, 6, 7], { seed: 1, epoch, window: 2 }));
  });
});
