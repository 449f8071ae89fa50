import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Draws, permutation, philox } from '../../shards/random.ts';

describe('keyed random numbers', () => {
  it("gives Philox4x32-10's published known answers (Random123, kat_vectors)", () => {
    const cases = [
      [
        [0, 0, 0, 0],
        [0, 0],
        [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
      ],
      [
        [-1, -1, -1, -1],
        [-1, -1],
        [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
      ],
      [
        [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
        [0xa4093822, 0x299f31d0],
        [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
      ],
    ] as const;
    for (const [counter, key, expected] of cases) {
      const out = new Uint32Array(4);
      philox(out, [...counter], [...key]);
      assert.deepEqual([...out], [...expected]);
    }
  });

  it('draws the same for the same key and otherwise for another seed, purpose, epoch, step or index', () => {
    const key = { seed: 1, purpose: 'a', epoch: 2, step: 3, index: 4 };
    const first = (k: ConstructorParameters<typeof Draws>[0]) => new Draws(k).uint32();
    assert.equal(first(key), first({ ...key }));
    const others = [{ seed: 2 }, { purpose: 'b' }, { epoch: 3 }, { step: 4 }, { index: 5 }].map((change) =>
      first({ ...key, ...change }),
    );
    assert.equal(new Set([first(key), ...others]).size, 6);
  });

  it('keeps uniform in [0, 1) and below in [0, n), with every value reached', () => {
    const draws = new Draws({ seed: 7, purpose: 'range' });
    const counts = new Array<number>(10).fill(0);
    let sum = 0;
    for (let i = 0; i < 10_000; i++) {
      const u = draws.uniform();
      assert.ok(u >= 0 && u < 1);
      sum += u;
      const k = draws.below(10);
      counts[k] = (counts[k] ?? 0) + 1;
    }
    assert.ok(Math.abs(sum / 10_000 - 0.5) < 0.02);
    assert.ok(counts.length === 10 && counts.every((count) => count > 850 && count < 1150));
  });

  it('permutes: every index once, the same for the same key', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(), (n, seed) => {
        const order = permutation(n, { seed, purpose: 'p' });
        assert.deepEqual(
          [...order].sort((a, b) => a - b),
          Array.from({ length: n }, (_, i) => i),
        );
        assert.deepEqual(order, permutation(n, { seed, purpose: 'p' }));
      }),
    );
  });
});
