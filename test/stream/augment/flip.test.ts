import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Draws } from '../../../shards/random.ts';
import { flips } from '../../../stream/augment/flip.ts';

const DRAWN = 20_000;
const rateOf = (probability: number) =>
  Array.from({ length: DRAWN }, (_, index) =>
    flips(probability, new Draws({ seed: 5, purpose: 'test', index })),
  ).filter(Boolean).length / DRAWN;

it('flips as often as its probability says; never at 0, always at 1', () => {
  assert.deepEqual([rateOf(0), rateOf(1)], [0, 1]);
  for (const probability of [0.5, 0.1]) {
    const deviation = Math.sqrt((probability * (1 - probability)) / DRAWN);
    assert.ok(Math.abs(rateOf(probability) - probability) < 2.6 * deviation, String(rateOf(probability)));
  }
});

it('a flip takes one draw at any probability, so that what is drawn after it stays', () => {
  const after = (probability: number) => {
    const draws = new Draws({ seed: 5, purpose: 'test' });
    flips(probability, draws);
    return draws.uniform();
  };
  assert.equal(after(0), after(0.5));
});
