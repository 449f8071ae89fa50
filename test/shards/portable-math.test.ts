import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { exp, ln, pow } from '../../shards/portable-math.ts';

describe('portable exp, ln and pow', () => {
  it('agree with the engine’s within 1e-14', () => {
    const close = (ours: number, theirs: number) =>
      assert.ok(Math.abs(ours - theirs) <= 1e-14 * Math.max(1, Math.abs(theirs)), `${ours} ${theirs}`);
    for (let i = 1; i < 2000; i++) {
      const x = i / 97;
      close(ln(x), Math.log(x));
      close(exp(x) / Math.exp(x), 1);
      close(exp(-x) / Math.exp(-x), 1);
      close(pow(x / 21, 0.2), (x / 21) ** 0.2);
    }
    assert.equal(pow(0, 0.3), 0);
  });
});
