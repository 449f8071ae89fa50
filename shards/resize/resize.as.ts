// In WebAssembly SIMD (AssemblyScript): the resize, U8 RGB rows → U8 RGB rows, separable, vertical pass first; and the
// weighted mean of two images.
//
// All multiply bytes with Q14 weights (signed 16 bits, each output's sum is 1 << 14) and round to bytes, as Pillow
// does. A weight of 0 pads each output's taps to a whole number of pairs; what it is multiplied with is read, so the
// caller leaves readable memory behind the source and the scratch rows.

/** Half of Q14's 1, for rounding. */
const HALF: i32 = 1 << 13;
/** Rows that go through the second pass together: they share its loads of weights. Also the caller's row granule. */
const ROWS: i32 = 4;

/** One output row: `bytes` (rounded up to 16) of `out` from `taps` rows, `stride` apart, that begin at `src`. */
function vertical(src: usize, stride: usize, taps: i32, weights: usize, bytes: i32, out: usize): void {
  if (taps === 2) {
    blend(src, src + stride, load<i16>(weights), bytes, out);
    return;
  }
  for (let b = 0; b < bytes; b += 16) {
    let a0 = i32x4.splat(HALF);
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let row = src + <usize>b;
    for (let k = 0; k < taps; k += 2) {
      const pair = v128.load32_splat(weights + ((<usize>k) << 1));
      const upper = v128.load(row);
      const lower = v128.load(row + stride);
      // The two rows' bytes alternate, so that one dot product weighs and adds both.
      const lo = v128.shuffle<u8>(upper, lower, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const hi = v128.shuffle<u8>(upper, lower, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(lo), pair));
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(lo), pair));
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(hi), pair));
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(hi), pair));
      row += stride << 1;
    }
    const lo = i16x8.narrow_i32x4_s(i32x4.shr_s(a0, 14), i32x4.shr_s(a1, 14));
    const hi = i16x8.narrow_i32x4_s(i32x4.shr_s(a2, 14), i32x4.shr_s(a3, 14));
    v128.store(out + <usize>b, i8x16.narrow_i16x8_u(lo, hi));
  }
}

/** Four output rows of `width` pixels, `outStride` apart, from four scratch rows, `stride` apart. */
function horizontal(
  src: usize,
  stride: usize,
  starts: usize,
  weights: usize,
  taps: i32,
  width: i32,
  out: usize,
  outStride: usize,
): void {
  // Of 16 bytes, pixels 0 and 1 as shorts: r r g g b b 0 0; lanes above 15 give 0.
  const both = i8x16(0, 16, 3, 16, 1, 16, 4, 16, 2, 16, 5, 16, 16, 16, 16, 16);
  let weight = weights;
  for (let x = 0; x < width; x++) {
    let a0 = i32x4.splat(HALF);
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let pixel = src + <usize>load<i32>(starts + ((<usize>x) << 2)) * 3;
    for (let k = 0; k < taps; k += 2) {
      const pair = v128.load32_splat(weight);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(i8x16.swizzle(v128.load(pixel), both), pair));
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(i8x16.swizzle(v128.load(pixel + stride), both), pair));
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(i8x16.swizzle(v128.load(pixel + stride * 2), both), pair));
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(i8x16.swizzle(v128.load(pixel + stride * 3), both), pair));
      weight += 4;
      pixel += 6;
    }
    const at = out + <usize>x * 3;
    const pixels = i8x16.narrow_i16x8_u(
      i16x8.narrow_i32x4_s(i32x4.shr_s(a0, 14), i32x4.shr_s(a1, 14)),
      i16x8.narrow_i32x4_s(i32x4.shr_s(a2, 14), i32x4.shr_s(a3, 14)),
    );
    if (x < width - 1) {
      // The fourth byte is overwritten by the next pixel.
      v128.store32_lane(at, pixels, 0);
      v128.store32_lane(at + outStride, pixels, 1);
      v128.store32_lane(at + outStride * 2, pixels, 2);
      v128.store32_lane(at + outStride * 3, pixels, 3);
    } else {
      v128.store16_lane(at, pixels, 0);
      v128.store8_lane(at + 2, pixels, 2);
      v128.store16_lane(at + outStride, pixels, 2);
      v128.store8_lane(at + outStride + 2, pixels, 6);
      v128.store16_lane(at + outStride * 2, pixels, 4);
      v128.store8_lane(at + outStride * 2 + 2, pixels, 10);
      v128.store16_lane(at + outStride * 3, pixels, 6);
      v128.store8_lane(at + outStride * 3 + 2, pixels, 14);
    }
  }
}

/**
 * `rows` output rows (a multiple of four) of `columns` pixels into `out`, without gaps.
 *
 * `rowStarts` (i32) gives each row's first source row from `src`, `rowWeights` (i16) its `rowTaps`; `columnStarts`,
 * `columnWeights` and `columnTaps` likewise in pixels from the left of what `src` points at. `bytes` of each source row
 * are used. `scratch` holds four rows of `scratchStride` bytes.
 */
export function resize(
  src: usize,
  stride: usize,
  bytes: i32,
  rowStarts: usize,
  rowWeights: usize,
  rowTaps: i32,
  rows: i32,
  columnStarts: usize,
  columnWeights: usize,
  columnTaps: i32,
  columns: i32,
  scratch: usize,
  scratchStride: usize,
  out: usize,
): void {
  const outStride = <usize>columns * 3;
  for (let y = 0; y < rows; y += ROWS) {
    for (let i = 0; i < ROWS; i++) {
      const row = y + i;
      const start = src + <usize>load<i32>(rowStarts + ((<usize>row) << 2)) * stride;
      const weights = rowWeights + ((<usize>(row * rowTaps)) << 1);
      vertical(start, stride, rowTaps, weights, bytes, scratch + <usize>i * scratchStride);
    }
    horizontal(
      scratch,
      scratchStride,
      columnStarts,
      columnWeights,
      columnTaps,
      columns,
      out + <usize>y * outStride,
      outStride,
    );
  }
}

/** out = (a · weight + b · (ONE − weight)) / ONE of `bytes` bytes, rounded up to 16; `weight` in 0 … ONE, Q14's 1. */
export function blend(a: usize, b: usize, weight: i32, bytes: i32, out: usize): void {
  const share = i16x8.splat(<i16>weight);
  for (let i: usize = 0; i < <usize>bytes; i += 16) {
    const own = v128.load(a + i);
    const other = v128.load(b + i);
    const lo = between(i16x8.extend_low_i8x16_u(own), i16x8.extend_low_i8x16_u(other), share);
    const hi = between(i16x8.extend_high_i8x16_u(own), i16x8.extend_high_i8x16_u(other), share);
    v128.store(out + i, i8x16.narrow_i16x8_u(lo, hi));
  }
}

/** b + (a − b) · share: the same to the bit as two weights, and Q15's rounding product of the doubled difference is one step. */
// @ts-expect-error: AssemblyScript's decorator
function between(a: v128, b: v128, share: v128): v128 {
  return i16x8.add(b, i16x8.q15mulr_sat_s(i16x8.shl(i16x8.sub(a, b), 1), share));
}
