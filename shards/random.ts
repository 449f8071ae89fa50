// Counter-based random numbers: every draw is a function of (seed, purpose, epoch, step, index) and nothing else.
// Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011). Integers only, so every
// machine draws the same.

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** High 32 bits of the 64-bit product of two unsigned 32-bit integers, from 16-bit halves: a float64 would round. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = (middle & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(carry / 65536)) >>> 0;
}

/** One Philox4x32-10 block: four 32-bit counter words and two key words in, four words out (written to `out`). */
export function philox(
  out: Uint32Array,
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): void {
  let [x0, x1, x2, x3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, x0 >>> 0);
    const low0 = Math.imul(M0, x0);
    const high1 = mulHigh(M1, x2 >>> 0);
    const low1 = Math.imul(M1, x2);
    x0 = high1 ^ x1 ^ k0;
    x1 = low1;
    x2 = high0 ^ x3 ^ k1;
    x3 = low0;
    k0 = (k0 + W0) | 0;
    k1 = (k1 + W1) | 0;
  }
  out[0] = x0;
  out[1] = x1;
  out[2] = x2;
  out[3] = x3;
}

/** FNV-1a, 32 bit, of the UTF-8 bytes: turns a purpose's name into a key word. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

export interface DrawKey {
  readonly seed: number;
  /** What the draw is for, so that two uses of one (epoch, step, index) never share numbers. */
  readonly purpose: string;
  readonly epoch?: number;
  readonly step?: number;
  readonly index?: number;
}

/** A short sequence of draws under one key. */
export class Draws {
  readonly #key: readonly [number, number];
  readonly #counter: [number, number, number, number];
  readonly #block = new Uint32Array(4);
  #used = 4;

  constructor({ seed, purpose, epoch = 0, step = 0, index = 0 }: DrawKey) {
    this.#key = [seed | 0, fnv1a(purpose) | 0];
    this.#counter = [0, index | 0, step | 0, epoch | 0];
  }

  /** An integer in [0, 2^32). */
  uint32(): number {
    if (this.#used === 4) {
      philox(this.#block, this.#counter, this.#key);
      this.#counter[0]++;
      this.#used = 0;
    }
    return this.#block[this.#used++] as number;
  }

  /** A number in [0, 1) with 32 random bits: exact in float64. */
  uniform(): number {
    return this.uint32() / 4294967296;
  }

  /** An integer in [0, n), unbiased by rejection; n in 1 … 2^32. */
  below(n: number): number {
    const limit = 4294967296 - (4294967296 % n);
    for (;;) {
      const word = this.uint32();
      if (word < limit) return word % n;
    }
  }
}

/** A permutation of 0 … n−1 by Fisher and Yates, a pure function of the key. */
export function permutation(n: number, key: DrawKey): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  const draws = new Draws(key);
  for (let i = n - 1; i > 0; i--) {
    const j = draws.below(i + 1);
    const kept = order[i] as number;
    order[i] = order[j] as number;
    order[j] = kept;
  }
  return order;
}
