// What a few seeds can say: mean, standard deviation, Wilson's interval, and whether two rows differ beyond chance.

/** Two-sided 95 % quantiles of Student's t with 1 … 30 degrees of freedom; more take the last, which errs to caution. */
const STUDENT_95 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

export interface Spread {
  readonly mean: number;
  /** Of a sample, by n − 1; 0 for one value. */
  readonly std: number;
  /** Of the mean: std / √n. */
  readonly standardError: number;
  readonly n: number;
}

export function spread(values: readonly number[]): Spread {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const std = n > 1 ? Math.sqrt(squares / (n - 1)) : 0;
  return { mean, std, standardError: std / Math.sqrt(n), n };
}

/** Wilson's 95 % interval of a share of `trials` answers; `share` may be a mean over seeds. */
export function wilson(share: number, trials: number): readonly [low: number, high: number] {
  const z = 1.96;
  const denominator = 1 + z ** 2 / trials;
  const centre = (share + z ** 2 / (2 * trials)) / denominator;
  const half = (z / denominator) * Math.sqrt((share * (1 - share)) / trials + z ** 2 / (4 * trials ** 2));
  return [centre - half, centre + half];
}

export type Verdict = 'higher' | 'lower' | 'within noise';

export interface Difference extends Spread {
  /** Student's t at 95 % of the paired differences; null where one seed says nothing. */
  readonly verdict: Verdict | null;
}

/**
 * ours[i] − theirs[i], each pair of one seed. Beyond noise where the mean lies further from 0 than t₀.₉₇₅(n − 1) standard
 * errors: chance alone does that to one comparison in twenty.
 */
export function pairedDifference(ours: readonly number[], theirs: readonly number[]): Difference {
  if (ours.length !== theirs.length) throw new Error(`${ours.length} and ${theirs.length} values make no pairs`);
  const found = spread(ours.map((value, i) => value - (theirs[i] ?? Number.NaN)));
  const { mean, standardError, n } = found;
  if (n < 2) return { ...found, verdict: null };
  const t = STUDENT_95[Math.min(n - 1, STUDENT_95.length) - 1] ?? Number.NaN;
  const beyond = Math.abs(mean) > t * standardError;
  return { ...found, verdict: !beyond ? 'within noise' : mean > 0 ? 'higher' : 'lower' };
}

/** Whether two means are equal within 2 standard errors of their difference, of independent samples (Welch). */
export function equalWithin2(ours: readonly number[], theirs: readonly number[]) {
  const [a, b] = [spread(ours), spread(theirs)];
  const standardError = Math.hypot(a.standardError, b.standardError);
  const difference = a.mean - b.mean;
  return { difference, standardError, equal: Math.abs(difference) <= 2 * standardError };
}
