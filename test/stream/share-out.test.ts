import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { shareOut } from '../../stream/transport/share-out.ts';

const holdings = fc.tuple(
  fc.nat(40),
  fc.dictionary(fc.string({ minLength: 1, maxLength: 3 }), fc.array(fc.nat(45), { maxLength: 45 }), {
    minKeys: 1,
    maxKeys: 9,
    noNullPrototype: true,
  }),
);
const sizes = (shares: ReadonlyMap<string, readonly number[]>) => [...shares.values()].map(({ length }) => length);

describe('sharing out', () => {
  it('gives every partition one member and nobody two more than another, whatever they say they hold', () =>
    fc.assert(
      fc.property(holdings, ([partitions, held]) => {
        const shares = shareOut(partitions, new Map(Object.entries(held)));
        assert.deepEqual([...shares.keys()].sort(), Object.keys(held).sort());
        assert.deepEqual(
          [...shares.values()].flat().sort((a, b) => a - b),
          Array.from({ length: partitions }, (_, partition) => partition),
        );
        assert.ok(Math.max(...sizes(shares)) - Math.min(...sizes(shares)) <= 1);
      }),
    ));

  it('moves nothing when nobody came or went', () =>
    fc.assert(
      fc.property(holdings, ([partitions, held]) => {
        const shares = shareOut(partitions, new Map(Object.entries(held)));
        assert.deepEqual(shareOut(partitions, shares), shares);
      }),
    ));

  it('moves no more than the share of one who comes, or of one who goes', () =>
    fc.assert(
      fc.property(fc.nat(40), fc.integer({ min: 1, max: 8 }), (partitions, count) => {
        const names = Array.from({ length: count }, (_, i) => `m${i}`);
        const before = shareOut(partitions, new Map(names.map((name) => [name, []])));
        const moved = (after: ReadonlyMap<string, readonly number[]>) =>
          [...after].flatMap(([name, share]) => share.filter((partition) => !before.get(name)?.includes(partition)));
        const joined = shareOut(partitions, new Map([...before, ['new', []]]));
        assert.deepEqual(moved(joined).sort(), [...(joined.get('new') as number[])].sort());
        const [[gone, theirs] = ['', []], ...rest] = before;
        if (rest.length === 0) return;
        assert.deepEqual(moved(shareOut(partitions, new Map(rest))).sort(), [...theirs].sort(), gone);
      }),
    ));
});
