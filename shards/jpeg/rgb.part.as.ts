// Planes to RGB, to the bit as libjpeg does it: chroma by its "fancy" upsampling (a triangle, one sample either side), then
// JFIF's colours with sixteen bits of fraction.

import { across, down, height, width } from './header.part.as';

/** Pixels at once. */
const STEP: i32 = 16;

/** Of a row of upsampled chroma, with what whole vectors write behind it. */
function rowBytes(): usize {
  return <usize>((width + 4 * STEP) & ~(STEP - 1));
}

/** Bytes that rgb() needs as `scratch`: a row of each chroma, and one of sums in sixteen bits. */
export function rgbScratchBytes(): i32 {
  return <i32>rowBytes() * 4;
}

/** Rows `first` ≤ y < `end` of the image from its planes, each whole with `…Stride` bytes a row. */
export function colourRows(
  luma: usize,
  lumaStride: i32,
  cb: usize,
  cr: usize,
  chromaStride: i32,
  first: i32,
  end: i32,
  scratch: usize,
  out: usize,
): void {
  const last = (height + down - 1) / down - 1;
  const samples = (width + across - 1) / across;
  // libjpeg repeats the samples of images this narrow, in both directions.
  const repeats = across === 2 && samples <= 2;
  for (let y = first; y < end; y++) {
    const near = down === 2 ? y >> 1 : y;
    const nearAt = <usize>(near * chromaStride);
    let blue = cb + nearAt;
    let red = cr + nearAt;
    if (across + down > 2) {
      const far = down === 1 || repeats ? near : min(max(near - 1 + ((y & 1) << 1), 0), last);
      const farAt = <usize>(far * chromaStride);
      // One sum lies before the first.
      const sums = scratch + rowBytes() * 2 + STEP;
      upsample(blue, cb + farAt, sums, scratch, samples, y & 1, repeats);
      upsample(red, cr + farAt, sums, scratch + rowBytes(), samples, y & 1, repeats);
      blue = scratch;
      red = scratch + rowBytes();
    }
    convert(luma + <usize>(y * lumaStride), blue, red, out);
    out += <usize>(width * 3);
  }
}

/** The same of a grey image. */
export function greyRows(luma: usize, lumaStride: i32, first: i32, end: i32, out: usize): void {
  for (let y = first; y < end; y++) {
    const row = luma + <usize>(y * lumaStride);
    for (let x = 0; x < width; x += STEP) {
      const samples = v128.load(row + <usize>x);
      interleave(samples, samples, samples, out + <usize>(x * 3));
    }
    out += <usize>(width * 3);
  }
}

/** A row of chroma at the pixels' resolution, between the rows of samples `near` and, a quarter as heavy, `far`. */
function upsample(near: usize, far: usize, sums: usize, out: usize, samples: i32, lower: i32, repeats: bool): void {
  const end = <usize>samples;
  for (let i: usize = 0; i < end; i += STEP) {
    const bytes = v128.load(near + i);
    let low = i16x8.extend_low_i8x16_u(bytes);
    let high = i16x8.extend_high_i8x16_u(bytes);
    if (down === 2) {
      const others = v128.load(far + i);
      low = i16x8.add(triple(low), i16x8.extend_low_i8x16_u(others));
      high = i16x8.add(triple(high), i16x8.extend_high_i8x16_u(others));
    }
    if (across === 1) {
      // Halves are rounded down in the upper row of two and up in the lower one.
      const bias = i16x8.splat(<i16>(1 + lower));
      const upper = i16x8.shr_u(i16x8.add(low, bias), 2);
      v128.store(out + i, i8x16.narrow_i16x8_u(upper, i16x8.shr_u(i16x8.add(high, bias), 2)));
    } else {
      v128.store(sums + (i << 1), low);
      v128.store(sums + (i << 1) + 16, high);
    }
  }
  if (across === 1) return;
  store<u16>(sums - 2, load<u16>(sums));
  store<u16>(sums + (end << 1), load<u16>(sums + (end << 1) - 2));
  if (repeats) {
    // Between a sample and itself.
    const first = load<u8>(near);
    const second = load<u8>(near + end - 1);
    store<u16>(out, <u16>first * 257);
    store<u16>(out + 2, <u16>second * 257);
    return;
  }
  const shift = down === 2 ? 4 : 2;
  const left = i16x8.splat(down === 2 ? 8 : 1);
  const right = i16x8.splat(down === 2 ? 7 : 2);
  for (let i: usize = 0; i < end; i += 8) {
    const at = sums + (i << 1);
    const three = triple(v128.load(at));
    const even = i16x8.shr_u(i16x8.add(i16x8.add(three, v128.load(at - 2)), left), shift);
    const odd = i16x8.shr_u(i16x8.add(i16x8.add(three, v128.load(at + 2)), right), shift);
    v128.store(out + (i << 1), v128.or(even, i16x8.shl(odd, 8)));
  }
}

function triple(v: v128): v128 {
  return i16x8.add(v, i16x8.add(v, v));
}

/**
 * With x = C − 128: R = Y + 1.402 xr, B = Y + 1.772 xb, G = Y − 0.34414 xb − 0.71414 xr, each product rounded as
 * libjpeg's tables are. Whole parts are split off so that what is left fits sixteen bits; the fraction of R's constant
 * has one bit more than a rounded product takes, and equals libjpeg's for all 256 values all the same.
 */
function convert(luma: usize, blue: usize, red: usize, out: usize): void {
  const middle = i8x16.splat(-128);
  const end = <usize>width;
  for (let x: usize = 0; x < end; x += STEP) {
    const y = v128.load(luma + x);
    const b = v128.xor(v128.load(blue + x), middle);
    const r = v128.xor(v128.load(red + x), middle);
    const y0 = i16x8.extend_low_i8x16_u(y);
    const y1 = i16x8.extend_high_i8x16_u(y);
    const b0 = i16x8.extend_low_i8x16_s(b);
    const b1 = i16x8.extend_high_i8x16_s(b);
    const r0 = i16x8.extend_low_i8x16_s(r);
    const r1 = i16x8.extend_high_i8x16_s(r);
    interleave(
      i8x16.narrow_i16x8_u(redOf(y0, r0), redOf(y1, r1)),
      i8x16.narrow_i16x8_u(greenOf(y0, b0, r0), greenOf(y1, b1, r1)),
      i8x16.narrow_i16x8_u(blueOf(y0, b0), blueOf(y1, b1)),
      out + x * 3,
    );
  }
}

/** y + r + 0.402 r */
function redOf(y: v128, r: v128): v128 {
  return i16x8.add(i16x8.add(y, r), i16x8.q15mulr_sat_s(r, i16x8.splat(13173)));
}

/** y + 2 b − 0.228 b */
function blueOf(y: v128, b: v128): v128 {
  return i16x8.add(i16x8.add(y, i16x8.add(b, b)), i16x8.q15mulr_sat_s(b, i16x8.splat(-7471)));
}

/** y − r + (0.28586 r − 0.34414 b), the bracket rounded once. */
function greenOf(y: v128, b: v128, r: v128): v128 {
  const factors = i16x8(-22554, 18734, -22554, 18734, -22554, 18734, -22554, 18734);
  const half = i32x4.splat(32768);
  const low = i32x4.dot_i16x8_s(v128.shuffle<i16>(b, r, 0, 8, 1, 9, 2, 10, 3, 11), factors);
  const high = i32x4.dot_i16x8_s(v128.shuffle<i16>(b, r, 4, 12, 5, 13, 6, 14, 7, 15), factors);
  const rounded = i16x8.narrow_i32x4_s(i32x4.shr_s(i32x4.add(low, half), 16), i32x4.shr_s(i32x4.add(high, half), 16));
  return i16x8.add(i16x8.sub(y, r), rounded);
}

/**
 * 16 pixels to 48 bytes and four behind them. By unpacking, which engines know as instructions; other shuffles of two
 * vectors cost them three times as much.
 */
function interleave(r: v128, g: v128, b: v128, out: usize): void {
  const rg0 = v128.shuffle<i8>(r, g, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const rg1 = v128.shuffle<i8>(r, g, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const bb0 = v128.shuffle<i8>(b, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const bb1 = v128.shuffle<i8>(b, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  put(v128.shuffle<i16>(rg0, bb0, 0, 8, 1, 9, 2, 10, 3, 11), out);
  put(v128.shuffle<i16>(rg0, bb0, 4, 12, 5, 13, 6, 14, 7, 15), out + 12);
  put(v128.shuffle<i16>(rg1, bb1, 0, 8, 1, 9, 2, 10, 3, 11), out + 24);
  put(v128.shuffle<i16>(rg1, bb1, 4, 12, 5, 13, 6, 14, 7, 15), out + 36);
}

/** Four pixels of four bytes, the last one of each dropped. */
function put(pixels: v128, out: usize): void {
  v128.store(out, i8x16.swizzle(pixels, i8x16(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1)));
}
