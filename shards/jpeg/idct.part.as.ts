// The inverse DCT of libjpeg's "islow" (Loeffler, Ligtenberg and Moschytz with 13-bit constants), one 8 × 8 block at a
// time; the same bits as libjpeg's.
//
// A block lies as the first pass takes it, in pairs whose dot products with two constants are what libjpeg does in two
// steps: columns 0 4 2 6, then columns 7 1 3 5; of four columns the rows 0 and 4, then 2 and 6, 7 and 1, 3 and 5, each
// 16 bytes. So nothing has to be interleaved in either pass.

/** Byte offset in a block of each coefficient of the scan's zigzag order, and of factors in a quantisation table. Runs beyond
 * the block's end give its last coefficient, as in libjpeg; and from 80 on (the end of a block is a run, too) what lies
 * behind the block. */
export const ZIGZAG: usize = memory.data<u8>([
  0, 68, 34, 16, 102, 8, 72, 42, 84, 48, 2, 116, 24, 106, 4, 76, 38, 88, 56, 70, 50, 18, 118, 10, 120, 20, 110, 12, 64,
  46, 92, 52, 74, 58, 86, 32, 100, 26, 122, 6, 124, 28, 98, 80, 60, 78, 54, 90, 40, 104, 22, 126, 14, 112, 66, 62, 94,
  36, 108, 30, 114, 82, 44, 96, 96, 96, 96, 96, 96, 96, 96, 96, 96, 96, 96, 96, 96, 96, 96, 96, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
]);
/** The index of the last coefficient. */
export const LAST: u32 = 63;

/** The block that is decoded, i16 [8, 8], zero between blocks; one coefficient behind it takes what is dropped. */
export const BLOCK_BYTES: i32 = 144;
export const BLOCK: usize = memory.data(BLOCK_BYTES, 16);

/** i16 after the first pass: rows 0 and 1 of columns 0 4 2 6, rows 2 and 3, and so on; then of columns 7 1 3 5. */
const rows: usize = memory.data(128, 16);
/** i16 after the second pass: columns 0 and 1 of four rows, columns 2 and 3, and so on. */
const columns: usize = memory.data(64, 16);

/** A pair of constants after the other, four times each. In memory, for V8 would put them together in three steps. */
const constants: usize = memory.data<i16>(
  [
    8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192, -8192, 8192, -8192, 8192, -8192, 8192, -8192, 10703, 4433,
    10703, 4433, 10703, 4433, 10703, 4433, 4433, -10704, 4433, -10704, 4433, -10704, 4433, -10704, -4927, -7373, -4927,
    -7373, -4927, -7373, -4927, -7373, -7373, 4926, -7373, 4926, -7373, 4926, -7373, 4926, -20995, -4176, -20995, -4176,
    -20995, -4176, -20995, -4176, 4177, -20995, 4177, -20995, 4177, -20995, 4177, -20995, -6436, 9633, -6436, 9633,
    -6436, 9633, -6436, 9633, 9633, 6437, 9633, 6437, 9633, 6437, 9633, 6437,
  ],
  16,
);

function constant(index: usize): v128 {
  return v128.load(constants + (index << 4));
}

function add(a: v128, b: v128): v128 {
  return i32x4.add(a, b);
}

function sub(a: v128, b: v128): v128 {
  return i32x4.sub(a, b);
}

function dot(a: v128, b: v128): v128 {
  return i32x4.dot_i16x8_s(a, b);
}

/**
 * One pass over four columns: from the pairs of their rows to eight rows of four at `to`, as i16, after a shift to the
 * right. `rounding` is added before.
 */
function pass<Out>(e04: v128, e26: v128, o71: v128, o35: v128, rounding: v128, to: usize): void {
  const shift = sizeof<Out>() === 2 ? 11 : 18;
  const z = i16x8.add(o71, o35);
  const t0 = add(dot(e04, constant(0)), rounding);
  const t1 = add(dot(e04, constant(1)), rounding);
  const t3 = dot(e26, constant(2));
  const t2 = dot(e26, constant(3));
  const y3 = dot(z, constant(8));
  const y4 = dot(z, constant(9));
  const b0 = add(dot(o71, constant(4)), y3);
  const b3 = add(dot(o71, constant(5)), y4);
  const b1 = add(dot(o35, constant(6)), y4);
  const b2 = add(dot(o35, constant(7)), y3);
  const a0 = add(t0, t3);
  const a3 = sub(t0, t3);
  const a1 = add(t1, t2);
  const a2 = sub(t1, t2);
  v128.store(to, narrow(add(a0, b3), add(a1, b2), shift));
  v128.store(to, narrow(sub(a1, b2), sub(a0, b3), shift), 48);
  v128.store(to, narrow(add(a2, b1), add(a3, b0), shift), 16);
  v128.store(to, narrow(sub(a3, b0), sub(a2, b1), shift), 32);
}

function narrow(a: v128, b: v128, shift: i32): v128 {
  return i16x8.narrow_i32x4_s(i32x4.shr_s(a, shift), i32x4.shr_s(b, shift));
}

/** Of the 16 coefficients at `at`, which become zero. */
function scaled(quantiser: usize, at: usize): v128 {
  const coefficients = v128.load(BLOCK + at);
  v128.store(BLOCK + at, i32x4.splat(0));
  return i16x8.mul(coefficients, v128.load(quantiser + at));
}

/** The first pass over the four columns at `at`; it leaves two bits of fraction. */
function fourColumns(quantiser: usize, at: usize): void {
  const e04 = scaled(quantiser, at);
  const e26 = scaled(quantiser, at + 16);
  const o71 = scaled(quantiser, at + 32);
  const o35 = scaled(quantiser, at + 48);
  pass<i16>(e04, e26, o71, o35, i32x4.splat(1 << 10), rows + at);
}

/** The second pass over the four rows at `at`; to bytes from 0 on. */
function fourRows(at: usize, out: usize, stride: usize): void {
  const even01 = v128.load(rows + at);
  const even23 = v128.load(rows + at, 16);
  const odd01 = v128.load(rows + at, 64);
  const odd23 = v128.load(rows + at, 80);
  pass<i8>(
    v128.shuffle<i32>(even01, even23, 0, 2, 4, 6),
    v128.shuffle<i32>(even01, even23, 1, 3, 5, 7),
    v128.shuffle<i32>(odd01, odd23, 0, 2, 4, 6),
    v128.shuffle<i32>(odd01, odd23, 1, 3, 5, 7),
    // From −128…127 to 0…255.
    i32x4.splat((1 << 17) + (128 << 18)),
    columns,
  );
  const c03 = i8x16.narrow_i16x8_u(v128.load(columns), v128.load(columns, 16));
  const c47 = i8x16.narrow_i16x8_u(v128.load(columns, 32), v128.load(columns, 48));
  // Thrice interleaved, columns have become rows.
  const c0415 = low(c03, c47);
  const c2637 = high(c03, c47);
  const c0246 = low(c0415, c2637);
  const c1357 = high(c0415, c2637);
  const r01 = low(c0246, c1357);
  const r23 = high(c0246, c1357);
  v128.store64_lane(out, r01, 0);
  v128.store64_lane(out + stride, r01, 1);
  v128.store64_lane(out + 2 * stride, r23, 0);
  v128.store64_lane(out + 3 * stride, r23, 1);
}

function low(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

function high(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** BLOCK times `quantiser`, transformed, to eight rows of eight bytes, `stride` apart; BLOCK is zero afterwards. */
export function inverse(quantiser: usize, out: usize, stride: usize): void {
  for (let at: usize = 0; at < 128; at += 64) fourColumns(quantiser, at);
  for (let at: usize = 0; at < 64; at += 32) fourRows(at, out + (at >> 3) * stride, stride);
}

/** The same for a block whose only coefficient is `dc`: all its samples are equal. */
export function flat(dc: i32, quantiser: usize, out: usize, stride: usize): void {
  // The products are sixteen bits, as inverse() has them.
  const product = <i32>(<i16>(dc * <i32>load<i16>(quantiser)));
  const scaled = min(max(product << 2, -32768), 32767);
  const sample = min(max(((scaled + 16) >> 5) + 128, 0), 255);
  const samples = i8x16.splat(<i8>sample);
  let to = out;
  for (let i = 0; i < 8; i++) {
    v128.store64_lane(to, samples, 0);
    to += stride;
  }
}
