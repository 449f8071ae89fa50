// A baseline JPEG decoder in WebAssembly SIMD (AssemblyScript) that stores only the planes of a crop.
//
// The caller lays out the memory: the file, room for its scan without stuffing, and the planes. Everything before the
// crop is read for its length alone; everything after the crop's last MCU is not read.

import { BROKEN, beginRow, beginScan, keep, resetPredictions, skip } from './entropy.part.as';
import {
  across,
  components,
  DAMAGED,
  down,
  height,
  OK,
  parse,
  restartInterval,
  scanEnd,
  scanStart,
  width,
} from './header.part.as';
import { colourRows, greyRows } from './rgb.part.as';
import { firstSegment, markerAt, nextSegment, segmentBits } from './segment.part.as';

const found: usize = memory.data(6 * 4, 4);

// What the last decode() has left: the planes, and the most bits left over of a segment that was read to its last MCU.
let luma: usize = 0;
let lumaStride: i32 = 0;
let cb: usize = 0;
let cr: usize = 0;
let chromaStride: i32 = 0;
let unread: u32 = 0;

export { rgbScratchBytes } from './rgb.part.as';
export { scratchBytes } from './segment.part.as';

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
  chromaStride = (right - left) * 8;
  lumaStride = chromaStride * across;
  luma = out;
  cb = luma + <usize>(lumaStride * (lower - upper) * 8 * down);
  cr = cb + <usize>(chromaStride * (lower - upper) * 8);
  unread = 0;
  beginScan(right - left);
  firstSegment(scratch);
  resetPredictions();
  let bit: u32 = 0;
  let untilRestart = restartInterval || i32.MAX_VALUE;
  let restarts = 0;
  for (let y = 0; y < lower; y++) {
    const row = y - upper;
    if (row >= 0) beginRow(out, row, lower - upper);
    const last = y === lower - 1 ? right : mcus;
    for (let x = 0; x < last; ) {
      if (untilRestart === 0) {
        unread = max(unread, segmentBits - bit);
        if (!nextSegment(restarts++)) return DAMAGED;
        resetPredictions();
        bit = 0;
        untilRestart = restartInterval;
      }
      const wanted = row >= 0 && x >= left && x < right;
      const end = wanted ? right : row >= 0 && x < left ? left : last;
      const run = min(end - x, untilRestart);
      bit = wanted ? keep(bit, run) : skip(bit, run);
      if (bit === BROKEN) return DAMAGED;
      x += run;
      if (restartInterval) untilRestart -= run;
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
  if (components === 1) greyRows(luma, lumaStride, first, end, out);
  else colourRows(luma, lumaStride, cb, cr, chromaStride, first, end, scratch, out);
}
