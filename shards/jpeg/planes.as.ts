// A baseline JPEG decoder in WebAssembly SIMD (AssemblyScript) that stores only the planes of a crop.
//
// The caller lays out the memory: the file, room for its scan without stuffing, and the planes. Everything before the
// crop is read for its length alone; everything after the crop's last MCU is not read.

import { beginScan, broken, keep, markerAt, predictions, restart, segmentBits, skip } from './entropy.part.as';
import {
  across,
  acTableOf,
  components,
  DAMAGED,
  dcTableOf,
  down,
  height,
  OK,
  parse,
  quantiserOf,
  restartInterval,
  scanEnd,
  scanStart,
  width,
} from './header.part.as';
import { colourRows, greyRows } from './rgb.part.as';

// Of each component, for decode().
const strides: usize = memory.data(3 * 4, 4);
const planes: usize = memory.data(3 * 4, 4);
const quantisers: usize = memory.data(3 * 4, 4);
const dcTables: usize = memory.data(3 * 4, 4);
const acTables: usize = memory.data(3 * 4, 4);
const found: usize = memory.data(6 * 4, 4);

/** The most bits that the last decode() left over of a segment which it read to its last MCU. */
let unread: u32 = 0;

export { scratchBytes } from './entropy.part.as';
export { rgbScratchBytes } from './rgb.part.as';

/** Reads the header of the file: 0, or 1 for one that is not supported, 2 for a damaged one. */
export function header(file: usize, length: i32): i32 {
  return parse(file, length);
}

/** After header(): the address of i32 width, height, components, MCU's luma blocks across and down, scan's bytes. */
export function frame(): usize {
  store<i32>(found, width);
  store<i32>(found, height, 4);
  store<i32>(found, components, 8);
  store<i32>(found, across, 12);
  store<i32>(found, down, 16);
  store<i32>(found, <i32>(scanEnd - scanStart), 20);
  return found;
}

/** Where planes begin that a caller lays out: behind all of this module's own data. */
export function heap(): usize {
  return (__heap_base + 15) & ~15;
}

/**
 * Decodes MCUs `left` ≤ x < `right`, `upper` ≤ y < `lower` to the planes at `out`, one after the other without gaps; a
 * plane has a row of all its blocks' samples for each of its rows. 0, or 2 for damage before the last of them.
 */
export function decode(scratch: usize, out: usize, left: i32, upper: i32, right: i32, lower: i32): i32 {
  const mcus = (width + 8 * across - 1) / (8 * across);
  if (left < 0 || upper < 0 || left >= right || upper >= lower || right > mcus) return DAMAGED;
  let plane = out;
  for (let c = 0; c < components; c++) {
    const stride = (right - left) * 8 * (c ? 1 : across);
    store<i32>(planes + c * 4, <i32>plane);
    store<i32>(strides + c * 4, stride);
    store<i32>(quantisers + c * 4, <i32>quantiserOf(c));
    store<i32>(dcTables + c * 4, <i32>dcTableOf(c));
    store<i32>(acTables + c * 4, <i32>acTableOf(c));
    plane += <usize>(stride * (lower - upper) * 8 * (c ? 1 : down));
  }
  beginScan(scratch);
  unread = 0;
  let bit: u32 = 0;
  let untilRestart = restartInterval;
  let restarts = 0;
  for (let y = 0; y < lower; y++) {
    const last = y === lower - 1 ? right : mcus;
    for (let x = 0; x < last; x++) {
      if (restartInterval) {
        if (untilRestart === 0) {
          unread = max(unread, segmentBits - bit);
          if (!restart(restarts++)) return DAMAGED;
          bit = 0;
          untilRestart = restartInterval;
        }
        untilRestart--;
      }
      const wanted = y >= upper && x >= left && x < right;
      for (let c = 0; c < components; c++) {
        const dc = <usize>load<i32>(dcTables + c * 4);
        const ac = <usize>load<i32>(acTables + c * 4);
        const prediction = predictions + <usize>(c << 2);
        const h = c ? 1 : across;
        const v = c ? 1 : down;
        if (wanted) {
          const stride = <usize>load<i32>(strides + c * 4);
          const quantiser = <usize>load<i32>(quantisers + c * 4);
          let row =
            <usize>load<i32>(planes + c * 4) + <usize>((y - upper) * v * 8) * stride + <usize>((x - left) * h * 8);
          for (let i = 0; i < v; i++) {
            for (let j = 0; j < h; j++) bit = keep(bit, dc, ac, prediction, quantiser, row + <usize>(j * 8), stride);
            row += stride << 3;
          }
        } else for (let i = h * v; i > 0; i--) bit = skip(bit, dc, ac, prediction);
      }
      if (bit > segmentBits || broken) return DAMAGED;
    }
  }
  unread = max(unread, segmentBits - bit);
  return OK;
}

/**
 * Whether the last decode(), of the whole image, met nothing that libjpeg warns of: no byte is left over before a restart
 * or after the last MCU, and the end of the image follows.
 */
export function readsWhole(): bool {
  let p = markerAt;
  while (p + 1 < scanEnd && load<u8>(p + 1) === 0xff) p++;
  return unread < 8 && p + 1 < scanEnd && load<u8>(p + 1) === 0xd9;
}

/**
 * Rows `first` ≤ y < `end` of what the last decode(), of the whole image, has left: U8 [end − first, width, 3] at `out`, and
 * up to 49 bytes behind it.
 */
export function rgb(first: i32, end: i32, scratch: usize, out: usize): void {
  const luma = <usize>load<i32>(planes);
  if (components === 1) greyRows(luma, load<i32>(strides), first, end, out);
  else
    colourRows(
      luma,
      load<i32>(strides),
      <usize>load<i32>(planes, 4),
      <usize>load<i32>(planes, 8),
      load<i32>(strides, 4),
      first,
      end,
      scratch,
      out,
    );
}
