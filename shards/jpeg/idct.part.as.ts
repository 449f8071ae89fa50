// The inverse DCT of libjpeg's "islow" (Loeffler, Ligtenberg and Moschytz with 13-bit constants), one 8 × 8 block at a
// time; the same bits as libjpeg's.

/** Byte offset in a block of each coefficient of the scan's zigzag order. Runs beyond the block's end give its last
 * coefficient, as in libjpeg, and from OVER on (the end of a block is a run, too) what lies behind the block. */
export const ZIGZAG: usize = memory.data<u8>([
  0, 2, 16, 32, 18, 4, 6, 20, 34, 48, 64, 50, 36, 22, 8, 10, 24, 38, 52, 66, 80, 96, 82, 68, 54, 40, 26, 12, 14, 28, 42,
  56, 70, 84, 98, 112, 114, 100, 86, 72, 58, 44, 30, 46, 60, 74, 88, 102, 116, 118, 104, 90, 76, 62, 78, 92, 106, 120,
  122, 108, 94, 110, 124, 126, 126, 126, 126, 126, 126, 126, 126, 126, 126, 126, 126, 126, 126, 126, 126, 126, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
]);
/** What the end of a block adds to the coefficient's index: from any of them beyond every run. */
export const OVER: i32 = 80;

/** The block that is decoded, i16 [8, 8], zero between blocks; one coefficient behind it takes what is dropped. */
export const BLOCK_BYTES: i32 = 144;
export const BLOCK: usize = memory.data(BLOCK_BYTES, 16);
const rows: usize = memory.data(128, 16);

function low(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

function high(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

function low32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 4, 1, 5);
}

function high32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 2, 6, 3, 7);
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

function put(row: i32, lo: v128, hi: v128, shift: i32): void {
  v128.store(rows + ((<usize>row) << 4), i16x8.narrow_i32x4_s(i32x4.shr_s(lo, shift), i32x4.shr_s(hi, shift)));
}

function factor(quantiser: usize, row: usize): v128 {
  return i16x8.mul(v128.load(BLOCK + (row << 4)), v128.load(quantiser + (row << 4)));
}

function row(index: usize): v128 {
  return v128.load(rows + (index << 4));
}

function pair(upper: usize): v128 {
  const bytes = i8x16.narrow_i16x8_s(row(upper), row(upper + 1));
  // From −128…127 to 0…255, and the two rows' bytes alternate.
  const shifted = v128.xor(bytes, i8x16.splat(-128));
  return v128.shuffle<i8>(shifted, shifted, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
}

/**
 * One pass over eight columns, to `rows`. Columns first, which leaves two bits of fraction (`Out` is i16), then rows, which
 * gives samples around 0 (i8). One instance each, for constant shifts.
 */
function transform<Out>(r0: v128, r1: v128, r2: v128, r3: v128, r4: v128, r5: v128, r6: v128, r7: v128): void {
  const shift = sizeof<Out>() === 2 ? 11 : 18;
  // Each constant is libjpeg's 13-bit one or a sum of two: a dot product of two rows does what it does in two steps.
  const k26a = i16x8(10703, 4433, 10703, 4433, 10703, 4433, 10703, 4433);
  const k26b = i16x8(4433, -10704, 4433, -10704, 4433, -10704, 4433, -10704);
  const plus = i16x8(8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192);
  const minus = i16x8(8192, -8192, 8192, -8192, 8192, -8192, 8192, -8192);
  const kz3 = i16x8(-6436, 9633, -6436, 9633, -6436, 9633, -6436, 9633);
  const kz4 = i16x8(9633, 6437, 9633, 6437, 9633, 6437, 9633, 6437);
  const k71a = i16x8(-4927, -7373, -4927, -7373, -4927, -7373, -4927, -7373);
  const k71b = i16x8(-7373, 4926, -7373, 4926, -7373, 4926, -7373, 4926);
  const k53a = i16x8(-4176, -20995, -4176, -20995, -4176, -20995, -4176, -20995);
  const k53b = i16x8(-20995, 4177, -20995, 4177, -20995, 4177, -20995, 4177);

  const half = i32x4.splat(1 << (shift - 1));
  const e26l = low(r2, r6);
  const e26h = high(r2, r6);
  const e04l = low(r0, r4);
  const e04h = high(r0, r4);
  const t0l = add(dot(e04l, plus), half);
  const t0h = add(dot(e04h, plus), half);
  const t1l = add(dot(e04l, minus), half);
  const t1h = add(dot(e04h, minus), half);
  const t2l = dot(e26l, k26b);
  const t2h = dot(e26h, k26b);
  const t3l = dot(e26l, k26a);
  const t3h = dot(e26h, k26a);
  const z3 = i16x8.add(r7, r3);
  const z4 = i16x8.add(r5, r1);
  const zl = low(z3, z4);
  const zh = high(z3, z4);
  const y3l = dot(zl, kz3);
  const y3h = dot(zh, kz3);
  const y4l = dot(zl, kz4);
  const y4h = dot(zh, kz4);
  const o71l = low(r7, r1);
  const o71h = high(r7, r1);
  const o53l = low(r5, r3);
  const o53h = high(r5, r3);
  const a0l = add(t0l, t3l);
  const a0h = add(t0h, t3h);
  const b3l = add(dot(o71l, k71b), y4l);
  const b3h = add(dot(o71h, k71b), y4h);
  put(0, add(a0l, b3l), add(a0h, b3h), shift);
  put(7, sub(a0l, b3l), sub(a0h, b3h), shift);
  const a1l = add(t1l, t2l);
  const a1h = add(t1h, t2h);
  const b2l = add(dot(o53l, k53b), y3l);
  const b2h = add(dot(o53h, k53b), y3h);
  put(1, add(a1l, b2l), add(a1h, b2h), shift);
  put(6, sub(a1l, b2l), sub(a1h, b2h), shift);
  const a2l = sub(t1l, t2l);
  const a2h = sub(t1h, t2h);
  const b1l = add(dot(o53l, k53a), y4l);
  const b1h = add(dot(o53h, k53a), y4h);
  put(2, add(a2l, b1l), add(a2h, b1h), shift);
  put(5, sub(a2l, b1l), sub(a2h, b1h), shift);
  const a3l = sub(t0l, t3l);
  const a3h = sub(t0h, t3h);
  const b0l = add(dot(o71l, k71a), y3l);
  const b0h = add(dot(o71h, k71a), y3h);
  put(3, add(a3l, b0l), add(a3h, b0h), shift);
  put(4, sub(a3l, b0l), sub(a3h, b0h), shift);
}

/** BLOCK times `quantiser`, transformed, to eight rows of eight bytes, `stride` apart; BLOCK is zero afterwards. */
export function inverse(quantiser: usize, out: usize, stride: usize): void {
  transform<i16>(
    factor(quantiser, 0),
    factor(quantiser, 1),
    factor(quantiser, 2),
    factor(quantiser, 3),
    factor(quantiser, 4),
    factor(quantiser, 5),
    factor(quantiser, 6),
    factor(quantiser, 7),
  );
  const zero = i32x4.splat(0);
  for (let i: usize = 0; i < 128; i += 16) v128.store(BLOCK + i, zero);

  // Columns become rows.
  const s0 = low(row(0), row(1));
  const s1 = high(row(0), row(1));
  const s2 = low(row(2), row(3));
  const s3 = high(row(2), row(3));
  const s4 = low(row(4), row(5));
  const s5 = high(row(4), row(5));
  const s6 = low(row(6), row(7));
  const s7 = high(row(6), row(7));
  const d0 = low32(s0, s2);
  const d1 = high32(s0, s2);
  const d2 = low32(s1, s3);
  const d3 = high32(s1, s3);
  const d4 = low32(s4, s6);
  const d5 = high32(s4, s6);
  const d6 = low32(s5, s7);
  const d7 = high32(s5, s7);
  transform<i8>(
    v128.shuffle<i64>(d0, d4, 0, 2),
    v128.shuffle<i64>(d0, d4, 1, 3),
    v128.shuffle<i64>(d1, d5, 0, 2),
    v128.shuffle<i64>(d1, d5, 1, 3),
    v128.shuffle<i64>(d2, d6, 0, 2),
    v128.shuffle<i64>(d2, d6, 1, 3),
    v128.shuffle<i64>(d3, d7, 0, 2),
    v128.shuffle<i64>(d3, d7, 1, 3),
  );

  const p0 = pair(0);
  const p1 = pair(2);
  const p2 = pair(4);
  const p3 = pair(6);
  const q0 = low(p0, p1);
  const q1 = high(p0, p1);
  const q2 = low(p2, p3);
  const q3 = high(p2, p3);
  const o0 = low32(q0, q2);
  const o1 = high32(q0, q2);
  const o2 = low32(q1, q3);
  const o3 = high32(q1, q3);
  let to = out;
  v128.store64_lane(to, o0, 0);
  to += stride;
  v128.store64_lane(to, o0, 1);
  to += stride;
  v128.store64_lane(to, o1, 0);
  to += stride;
  v128.store64_lane(to, o1, 1);
  to += stride;
  v128.store64_lane(to, o2, 0);
  to += stride;
  v128.store64_lane(to, o2, 1);
  to += stride;
  v128.store64_lane(to, o3, 0);
  to += stride;
  v128.store64_lane(to, o3, 1);
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
