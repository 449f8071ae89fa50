import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Draws } from '../../../shards/random.ts';
import { LAMBDA_ONE, lambdaSampler, partnerShift } from '../../../stream/augment/mixup.ts';
import { assertFollows, type Distribution, evenly, meanOf, varianceOf } from './distance.ts';

const drawsOf = (index: number) => new Draws({ seed: 5, purpose: 'test', index });

/** P(λ ≤ x) for λ ~ Beta(α, α), by the series of the incomplete beta function on [0, ½], mirrored above. */
function betaLaw(alpha: number): Distribution {
  // x^α Σ (1−α)_k x^k / (k! (α + k)); at ½ it is half of the whole.
  const lower = (x: number) => {
    let sum = 0;
    let factor = 1;
    for (let k = 0; k < 200; k++) {
      sum += (factor * x ** k) / (alpha + k);
      factor *= (k + 1 - alpha) / (k + 1);
    }
    return x ** alpha * sum;
  };
  const whole = 2 * lower(0.5);
  return (x) => (x <= 0 ? 0 : x >= 1 ? 1 : x <= 0.5 ? lower(x) / whole : 1 - lower(1 - x) / whole);
}

describe('MixUp', () => {
  // Quantiles of Beta(α, α), from scipy.stats.beta.ppf.
  const quantiles: Record<string, [probability: number, value: number][]> = {
    0.2: [
      [0.25, 0.023815],
      [0.3, 0.057881],
      [0.4, 0.216342],
      [0.5, 0.5],
      [0.6, 0.783658],
      [0.75, 0.976185],
    ],
    0.5: [
      [0.1, 0.024472],
      [0.25, 0.146447],
      [0.4, 0.345492],
      [0.5, 0.5],
      [0.75, 0.853553],
      [0.9, 0.975528],
    ],
    1: [
      [0.1, 0.1],
      [0.25, 0.25],
      [0.5, 0.5],
      [0.9, 0.9],
    ],
  };

  for (const [alpha, expected] of Object.entries(quantiles))
    it(`draws λ from Beta(${alpha}, ${alpha}): its distribution, mean and variance`, () => {
      const law = betaLaw(Number(alpha));
      for (const [probability, value] of expected)
        assert.ok(Math.abs(law(value) - probability) < 1e-4, `the test's own law: ${law(value)} at ${value}`);
      const sample = lambdaSampler(Number(alpha));
      const drawn = Array.from({ length: 40_000 }, (_, i) => sample(drawsOf(i)) / LAMBDA_ONE);
      assert.ok(Math.min(...drawn) >= 0 && Math.max(...drawn) <= 1);
      assertFollows(drawn, law, 1 / LAMBDA_ONE);
      const variance = 1 / (4 * (2 * Number(alpha) + 1));
      assert.ok(Math.abs(meanOf(drawn) - 0.5) < 2.6 * Math.sqrt(variance / drawn.length), String(meanOf(drawn)));
      assert.ok(Math.abs(varianceOf(drawn) / variance - 1) < 0.02, String(varianceOf(drawn)));
    });

  it('mixes no sample with itself, and all others evenly', () => {
    for (let n = 2; n < 20; n++) {
      const shifts = Array.from({ length: 2000 }, (_, i) => partnerShift(n, drawsOf(i)));
      assert.ok(shifts.every((shift) => shift >= 1 && shift < n));
      assertFollows(shifts, evenly(0.5, n - 0.5), 1);
    }
  });
});
