import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareText, sortKey } from '../../../shards/sources/listing.ts';

test('sort keys order paths component by component, as a walk through sorted folders does', () => {
  const component = fc.string({ unit: fc.constantFrom('a', 'b', '-', '.', '~', ' ', '!', 'é', '😀'), minLength: 1 });
  const path = fc.array(component, { minLength: 1, maxLength: 3 });
  const byComponents = (a: string[], b: string[]): number => {
    const at = a.findIndex((part, i) => part !== b[i]);
    if (at < 0) return a.length - b.length;
    return b[at] === undefined ? 1 : compareText(a[at] as string, b[at]);
  };
  fc.assert(
    fc.property(path, path, (a, b) => {
      const order = compareText(sortKey(a.join('/')), sortKey(b.join('/')));
      assert.equal(Math.sign(order), Math.sign(byComponents(a, b)));
    }),
  );
});
