// MixUp (Zhang 2018, "mixup: Beyond Empirical Risk Minimization"): λ ~ Beta(α, α), one draw a step, partners by rotation.
//
// λ is a multiple of 2^-14, so that the blend is exact integer arithmetic and the label's weight equals the pixels'.

import { type Draws, pow } from '#shards';

/** λ's denominator. */
export const LAMBDA_ONE = 16384;

const QUANTILES = 2048;
const PANELS = 16384;

/**
 * Quantiles of Beta(α, α) on [0, ½], at probabilities i / (2·QUANTILES); the other half mirrors them. With u = x^α the
 * density's pole at 0 vanishes: ∫ x^(α−1) (1−x)^(α−1) dx = (1/α) ∫ (1 − u^(1/α))^(α−1) du, here by the trapezoid rule.
 */
function lowerQuantiles(alpha: number): Float64Array {
  const top = pow(0.5, alpha);
  const density = (u: number) => pow(1 - pow(u, 1 / alpha), alpha - 1);
  const cumulative = new Float64Array(PANELS + 1);
  let before = density(0);
  for (let i = 1; i <= PANELS; i++) {
    const here = density((top * i) / PANELS);
    cumulative[i] = (cumulative[i - 1] as number) + (before + here) / 2;
    before = here;
  }
  const total = cumulative[PANELS] as number;
  const table = new Float64Array(QUANTILES + 1);
  let panel = 0;
  for (let i = 0; i <= QUANTILES; i++) {
    const wanted = (total * i) / QUANTILES;
    while (panel < PANELS - 1 && (cumulative[panel + 1] as number) < wanted) panel++;
    const low = cumulative[panel] as number;
    const part = (wanted - low) / ((cumulative[panel + 1] as number) - low);
    table[i] = pow((top * (panel + part)) / PANELS, 1 / alpha);
  }
  return table;
}

/** A sampler of λ in units of 1/16384, 0 … 16384. */
export function lambdaSampler(alpha: number): (draws: Draws) => number {
  const table = lowerQuantiles(alpha);
  return (draws) => {
    const place = draws.uniform() * 2 * QUANTILES;
    const mirrored = place > QUANTILES;
    const at = mirrored ? 2 * QUANTILES - place : place;
    const index = Math.min(QUANTILES - 1, Math.floor(at));
    const low = table[index] as number;
    const x = low + ((table[index + 1] as number) - low) * (at - index);
    const units = Math.round(x * LAMBDA_ONE);
    return mirrored ? LAMBDA_ONE - units : units;
  };
}

/** How far each sample's partner stands in a chunk of n ≥ 2: sample i mixes with (i + r) mod n, r in 1 … n−1. */
export function partnerShift(n: number, draws: Draws): number {
  return 1 + draws.below(n - 1);
}
