import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson } from '#shards';

test('keys are sorted by code unit at every depth and nothing is spaced', () => {
  const value = { b: [1, { z: null, a: 'é"' }], a: true, ä: 1e21, B: -0, skipped: undefined };
  assert.equal(canonicalJson(value), '{"B":0,"a":true,"b":[1,{"a":"é\\"","z":null}],"ä":1e+21}');
});

test('whole-number keys are sorted as text too', () => {
  assert.equal(canonicalJson({ 288: 1, 48: 2, 128: 3 }), '{"128":3,"288":1,"48":2}');
});

test('what it writes reads back as the same value, whatever the order of the keys', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalJson(value);
      assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
      assert.equal(canonicalJson(reversed(value)), text);
    }),
  );
});

test('what JSON cannot hold is refused, never changed silently', () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 1n, [undefined], new Map(), new Uint8Array(1), () => 0])
    assert.throws(() => canonicalJson({ value }), TypeError);
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).reverse();
  return Object.fromEntries(entries.map(([key, field]) => [key, reversed(field)]));
}
