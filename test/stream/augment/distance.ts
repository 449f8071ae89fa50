// How far drawn values lie from a law: the largest gap between the two distribution functions (Kolmogorov and Smirnov).

import assert from 'node:assert/strict';

export type Distribution = (value: number) => number;

/** `step`: what the values are rounded to; the law is met in the middle between two steps. */
export function ksDistance(values: readonly number[], law: Distribution, step = 0): number {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  let largest = 0;
  for (const [i, value] of sorted.entries()) {
    if (value !== sorted[i - 1]) largest = Math.max(largest, Math.abs(law(value - step / 2) - i / n));
    if (value !== sorted[i + 1]) largest = Math.max(largest, Math.abs(law(value + step / 2) - (i + 1) / n));
  }
  return largest;
}

/** Values of the law are further away once in a hundred times; the draws are keyed, so a test that passed does so again. */
export function assertFollows(values: readonly number[], law: Distribution, step = 0): void {
  const distance = ksDistance(values, law, step);
  const bound = 1.63 / Math.sqrt(values.length);
  assert.ok(distance < bound, `a distance of ${distance}, bound ${bound}`);
}

export const evenly =
  (low: number, high: number): Distribution =>
  (value) =>
    Math.min(1, Math.max(0, (value - low) / (high - low)));

export const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

export function varianceOf(values: readonly number[]): number {
  const mean = meanOf(values);
  return meanOf(values.map((value) => (value - mean) ** 2));
}
