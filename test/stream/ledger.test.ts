import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StepDigest } from '../../stream/ledger.ts';

describe('the digest of a step', () => {
  it('is XXH3-128: of nothing, the published 99aa06d3014798d86001c324468d497f', async () => {
    const digest = new StepDigest();
    digest.begin();
    assert.equal(digest.end(), '99aa06d3014798d86001c324468d497f');
  });

  it('depends on the bytes, not on how they are cut into records', async () => {
    const digest = new StepDigest();
    const other = new StepDigest();
    const bytes = Uint8Array.from({ length: 3000 }, (_, i) => i % 251);
    const of = (cuts: number[]) => {
      digest.begin();
      other.begin();
      for (const [i, from] of cuts.entries()) {
        digest.add(bytes.subarray(from, cuts[i + 1]));
        other.add(Uint8Array.of(i));
      }
      return digest.end();
    };
    assert.equal(new Set([of([0]), of([0, 1]), of([0, 1000, 1001, 2999])]).size, 1);
    assert.notEqual(of([0]), of([1]));
  });
});
