// exp and ln from + − × ÷ alone. Math.exp and Math.log may differ in the last bit between engines and versions; IEEE
// 754 fixes the four operations, so tables built from these are the same everywhere (relative error below 1e-15·4).

const { LN2 } = Math;

/** ln x for x > 0: x = m·2^k with m near 1, then ln m = 2·artanh((m−1)/(m+1)) as a series. */
export function ln(x: number): number {
  let m = x;
  let k = 0;
  while (m > Math.SQRT2) {
    m /= 2;
    k++;
  }
  while (m < Math.SQRT1_2) {
    m *= 2;
    k--;
  }
  const t = (m - 1) / (m + 1);
  const square = t * t;
  let sum = 0;
  for (let n = 41; n >= 1; n -= 2) sum = sum * square + 1 / n;
  return 2 * t * sum + k * LN2;
}

/** e^x for |x| < 700: x = k·ln 2 + r, a Taylor series for r, then doublings. */
export function exp(x: number): number {
  const k = Math.round(x / LN2);
  const r = x - k * LN2;
  let sum = 1;
  for (let n = 20; n >= 1; n--) sum = 1 + (r / n) * sum;
  for (let i = 0; i < k; i++) sum *= 2;
  for (let i = 0; i > k; i--) sum /= 2;
  return sum;
}

/** x^y for x > 0; 0 for x = 0. */
export function pow(x: number, y: number): number {
  return x === 0 ? 0 : exp(y * ln(x));
}
