// In WebAssembly SIMD (AssemblyScript): the planes of a JPEG → resized U8 RGB rows. Each plane is resized by itself, chroma
// from as few samples as there are, and colour is converted last, at the size of the output.
//
// Vertical pass first, eight output rows at a time. They are then turned, so that one vector is a column of all eight:
// the second pass and the colour need no shuffles. Weights are Q8, whose products with bytes fit into 16 bits: eight
// samples a multiplication. What their rounding moves (an output's weights sum to 1 exactly) is less than the rounding to
// bytes between the passes, which Pillow has, too.

/** Rows that go through the passes together. Also the caller's row granule. */
const ROWS: i32 = 8;
/** Bytes of a column of them. */
const COLUMN: usize = 8;
const VECTOR: i32 = 16;

/** What the caller says of a plane, with the tables of axis.part.as.ts. */
// @ts-expect-error: AssemblyScript's decorator
@unmanaged
class PlaneTask {
  samples!: usize;
  stride!: usize;
  columns!: i32;
  rowStarts!: usize;
  rowWeights!: usize;
  rowTaps!: i32;
  columnStarts!: usize;
  columnWeights!: usize;
  columnTaps!: i32;
}

function low8(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

function high8(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** What is done to eight rows of a column, or eight columns of a row, at once; written out where it is called. */
// biome-ignore lint/complexity/noStaticOnlyClass: asc inlines what it is told to, and only methods may have decorators here
class Eight {
  /** Eight samples times a weight, 16 bits. */
  @inline
  static weighed(samples: usize, weight: v128): v128 {
    return i16x8.mul(v128.load8x8_u(samples), weight);
  }

  /** An output column of eight rows, in Q6, from the columns at `from`. */
  @inline
  static horizontal(from: usize, weights: usize, end: usize): v128 {
    let sum = i16x8.add(
      Eight.weighed(from, v128.load16_splat(weights)),
      Eight.weighed(from + COLUMN, v128.load16_splat(weights, 2)),
    );
    let at = from + 2 * COLUMN;
    for (let k = weights + 4; k < end; k += 2, at += COLUMN)
      sum = i16x8.add(sum, Eight.weighed(at, v128.load16_splat(k)));
    return i16x8.shr_u(sum, 2);
  }

  /** Q6 to whole levels; what is outside of a byte stays so for the narrowing. */
  @inline
  static level(value: v128): v128 {
    return i16x8.shr_s(i16x8.add(value, i16x8.splat(1 << 5)), 6);
  }
}

/** One output row of `columns` bytes, rounded up to vectors, from `taps` rows. */
function verticalRow(from: usize, stride: usize, weights: usize, taps: i32, columns: i32, out: usize): void {
  const half = i16x8.splat(1 << 7);
  const first = v128.load16_splat(weights);
  const second = v128.load16_splat(weights, 2);
  const extra = weights + ((<usize>taps) << 1);
  for (let x = 0; x < columns; x += VECTOR) {
    let at = from + <usize>x;
    let lo = i16x8.add(half, Eight.weighed(at, first));
    let hi = i16x8.add(half, Eight.weighed(at + 8, first));
    at += stride;
    lo = i16x8.add(lo, Eight.weighed(at, second));
    hi = i16x8.add(hi, Eight.weighed(at + 8, second));
    for (let k = weights + 4; k < extra; k += 2) {
      const weight = v128.load16_splat(k);
      at += stride;
      lo = i16x8.add(lo, Eight.weighed(at, weight));
      hi = i16x8.add(hi, Eight.weighed(at + 8, weight));
    }
    v128.store(out + <usize>x, i8x16.narrow_i16x8_u(i16x8.shr_u(lo, 8), i16x8.shr_u(hi, 8)));
  }
}

/** Output rows `row` … `row` + 7 of a plane to `out`, u8 [columns rounded up to 16, 8]; `rows` is scratch. */
function verticalPass(task: PlaneTask, row: i32, rows: usize, out: usize): void {
  const width = <usize>((task.columns + VECTOR - 1) & ~(VECTOR - 1));
  const stride = task.stride;
  const taps = task.rowTaps;
  let weights = task.rowWeights + ((<usize>(row * taps)) << 1);
  let starts = task.rowStarts + ((<usize>row) << 2);
  let to = rows;
  for (let i = 0; i < ROWS; i++) {
    verticalRow(task.samples + <usize>load<i32>(starts) * stride, stride, weights, taps, task.columns, to);
    weights += (<usize>taps) << 1;
    starts += 4;
    to += width;
  }
  turn(rows, width, out);
}

/** Eight rows of `width` bytes become `width` columns of eight. */
function turn(rows: usize, width: usize, out: usize): void {
  let to = out;
  for (let x: usize = 0; x < width; x += 16, to += 128) {
    let at = rows + x;
    const a0 = v128.load(at);
    at += width;
    const a1 = v128.load(at);
    at += width;
    const a2 = v128.load(at);
    at += width;
    const a3 = v128.load(at);
    at += width;
    const a4 = v128.load(at);
    at += width;
    const a5 = v128.load(at);
    at += width;
    const a6 = v128.load(at);
    at += width;
    const a7 = v128.load(at);
    // A perfect shuffle of the 128 bytes turns their indexes' seven bits (row, column) by one; three of them exchange the two.
    const b0 = low8(a0, a4);
    const b1 = high8(a0, a4);
    const b2 = low8(a1, a5);
    const b3 = high8(a1, a5);
    const b4 = low8(a2, a6);
    const b5 = high8(a2, a6);
    const b6 = low8(a3, a7);
    const b7 = high8(a3, a7);
    const c0 = low8(b0, b4);
    const c1 = high8(b0, b4);
    const c2 = low8(b1, b5);
    const c3 = high8(b1, b5);
    const c4 = low8(b2, b6);
    const c5 = high8(b2, b6);
    const c6 = low8(b3, b7);
    const c7 = high8(b3, b7);
    v128.store(to, low8(c0, c4));
    v128.store(to, high8(c0, c4), 16);
    v128.store(to, low8(c1, c5), 32);
    v128.store(to, high8(c1, c5), 48);
    v128.store(to, low8(c2, c6), 64);
    v128.store(to, high8(c2, c6), 80);
    v128.store(to, low8(c3, c7), 96);
    v128.store(to, high8(c3, c7), 112);
  }
}

/** Sixteen columns of eight bytes become 16 bytes of eight rows, `stride` apart: four shuffles, as above. */
function turnBack(from: usize, out: usize, stride: usize): void {
  let a0 = v128.load(from);
  let a1 = v128.load(from, 16);
  let a2 = v128.load(from, 32);
  let a3 = v128.load(from, 48);
  let a4 = v128.load(from, 64);
  let a5 = v128.load(from, 80);
  let a6 = v128.load(from, 96);
  let a7 = v128.load(from, 112);
  for (let i = 0; i < 4; i++) {
    const b1 = high8(a0, a4);
    const b2 = low8(a1, a5);
    const b3 = high8(a1, a5);
    const b4 = low8(a2, a6);
    const b5 = high8(a2, a6);
    const b6 = low8(a3, a7);
    const b7 = high8(a3, a7);
    a0 = low8(a0, a4);
    a1 = b1;
    a2 = b2;
    a3 = b3;
    a4 = b4;
    a5 = b5;
    a6 = b6;
    a7 = b7;
  }
  let to = out;
  v128.store(to, a0);
  to += stride;
  v128.store(to, a1);
  to += stride;
  v128.store(to, a2);
  to += stride;
  v128.store(to, a3);
  to += stride;
  v128.store(to, a4);
  to += stride;
  v128.store(to, a5);
  to += stride;
  v128.store(to, a6);
  to += stride;
  v128.store(to, a7);
}

/** Eight output rows' columns of R, G and B, u8 [3 · size, 8], by JFIF's equations. */
function colourPass(luma: PlaneTask, y: usize, chroma: PlaneTask, cb: usize, cr: usize, size: i32, out: usize): void {
  const yBytes = (<usize>luma.columnTaps) << 1;
  const cBytes = (<usize>chroma.columnTaps) << 1;
  let yWeights = luma.columnWeights;
  let cWeights = chroma.columnWeights;
  let yStarts = luma.columnStarts;
  let cStarts = chroma.columnStarts;
  const zero = i16x8.splat(128 << 6);
  let to = out;
  for (let x = 0; x < size; x++) {
    const c = <usize>load<i32>(cStarts) * COLUMN;
    const blueness = i16x8.sub(Eight.horizontal(cb + c, cWeights, cWeights + cBytes), zero);
    const redness = i16x8.sub(Eight.horizontal(cr + c, cWeights, cWeights + cBytes), zero);
    const bright = Eight.horizontal(y + <usize>load<i32>(yStarts) * COLUMN, yWeights, yWeights + yBytes);
    // 1.402, 1.772, 0.344136 and 0.714136 in Q15, where 1 is left to the addition.
    const red = i16x8.add(i16x8.add(bright, redness), i16x8.q15mulr_sat_s(redness, i16x8.splat(13173)));
    const blue = i16x8.add(i16x8.add(bright, blueness), i16x8.q15mulr_sat_s(blueness, i16x8.splat(25297)));
    const green = i16x8.sub(
      i16x8.sub(bright, i16x8.q15mulr_sat_s(blueness, i16x8.splat(11277))),
      i16x8.q15mulr_sat_s(redness, i16x8.splat(23401)),
    );
    v128.store(to, i8x16.narrow_i16x8_u(Eight.level(red), Eight.level(green)));
    const last = Eight.level(blue);
    v128.store64_lane(to, i8x16.narrow_i16x8_u(last, last), 0, 2 * COLUMN);
    to += 3 * COLUMN;
    yStarts += 4;
    cStarts += 4;
    yWeights += yBytes;
    cWeights += cBytes;
  }
}

/** The same of a picture without colour. */
function greyPass(luma: PlaneTask, y: usize, size: i32, out: usize): void {
  const bytes = (<usize>luma.columnTaps) << 1;
  let weights = luma.columnWeights;
  let to = out;
  for (let x = 0; x < size; x++) {
    const from = y + <usize>load<i32>(luma.columnStarts + ((<usize>x) << 2)) * COLUMN;
    const bright = Eight.level(Eight.horizontal(from, weights, weights + bytes));
    const bytesOfIt = i8x16.narrow_i16x8_u(bright, bright);
    v128.store(to, bytesOfIt);
    v128.store64_lane(to, bytesOfIt, 0, 2 * COLUMN);
    to += 3 * COLUMN;
    weights += bytes;
  }
}

/** Bytes of a plane's columns in the scratch memory, with those behind them that weights of 0 pad. */
function columnBytes(task: PlaneTask): usize {
  return <usize>((task.columns + task.columnTaps + VECTOR - 1) & ~(VECTOR - 1)) * COLUMN;
}

/** Bytes of the colour pass's result; turnBack() reads 16 columns at least. */
function rgbBytes(size: i32): usize {
  return <usize>max(3 * size, VECTOR) * COLUMN;
}

/** Bytes of `scratch` that resizePlanes() needs for an output of `size` columns. */
export function planeScratchBytes(luma: PlaneTask, chroma: PlaneTask, size: i32): usize {
  let bytes = (columnBytes(luma) << 1) + rgbBytes(size);
  if (changetype<usize>(chroma)) bytes += columnBytes(chroma) << 1;
  return bytes;
}

/**
 * `rows` output rows (a multiple of eight) of `size` pixels into `out`, without gaps. A picture without `cb` and `cr`
 * (0) is grey. Behind each plane as many rows are readable as it has taps, and 16 bytes.
 */
export function resizePlanes(
  luma: PlaneTask,
  cb: PlaneTask,
  cr: PlaneTask,
  rows: i32,
  size: i32,
  scratch: usize,
  out: usize,
): void {
  const coloured = changetype<usize>(cb) !== 0;
  const lumaColumns = scratch + columnBytes(luma);
  const rgb = lumaColumns + columnBytes(luma);
  const cbColumns = rgb + rgbBytes(size);
  const stride = <usize>size * 3;
  for (let row = 0; row < rows; row += ROWS) {
    verticalPass(luma, row, scratch, lumaColumns);
    if (coloured) {
      const crColumns = cbColumns + columnBytes(cb);
      verticalPass(cb, row, scratch, cbColumns);
      verticalPass(cr, row, scratch, crColumns);
      colourPass(luma, lumaColumns, cb, cbColumns, crColumns, size, rgb);
    } else greyPass(luma, lumaColumns, size, rgb);
    const to = out + <usize>row * stride;
    if (stride < <usize>VECTOR) {
      turnBack(rgb, scratch, VECTOR);
      for (let i: usize = 0; i < <usize>ROWS; i++) memory.copy(to + i * stride, scratch + i * VECTOR, stride);
      continue;
    }
    for (let column: usize = 0; column < stride; column += 16) {
      // The last sixteen columns end with the row.
      const from = min(column, stride - 16);
      turnBack(rgb + from * COLUMN, to + from, stride);
    }
  }
}
