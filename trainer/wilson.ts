// How sure a share of few samples is.

/** The normal quantile of 97.5 %. */
const Z = 1.959963984540054;

/**
 * Wilson's 95 % interval of a share: `hits` of `samples` (Wilson 1927, "Probable inference, the law of succession, and
 * statistical inference"). It stays inside 0 … 1 and holds for small samples.
 */
export function wilson(hits: number, samples: number): [low: number, high: number] {
  const share = hits / samples;
  const square = Z ** 2 / samples;
  const middle = share + square / 2;
  const half = Z * Math.sqrt((share * (1 - share)) / samples + square / (4 * samples));
  return [Math.max(0, (middle - half) / (1 + square)), Math.min(1, (middle + half) / (1 + square))];
}
