// The scan's entropy-coded segments: blocks of coefficients, kept or read over.

import { scanEnd, scanStart } from './header.part.as';
import { INDEX_BITS, LONG, PAIRS, resolve } from './huffman.part.as';
import { BLOCK, BLOCK_BYTES, flat, inverse, OVER, ZIGZAG } from './idct.part.as';

/** Room below the unstuffed scan. No MCU is longer (6 blocks of 64 coefficients of 31 bits: 1,488 bytes), and where the
 * scan ends is looked at between MCUs only. */
const GUARD: i32 = 4096;

/** Lookups of INDEX_BITS that the 57 bits or more of a load last for. */
const LOOKUPS: i32 = 57 / INDEX_BITS;

/** i32 per component: the last DC coefficient. */
export const predictions: usize = memory.data(3 * 4, 4);

/** The segment that is read: its bytes backwards below `top`, so that a load of eight has the next bits at its top. */
let top: usize = 0;
export let segmentBits: u32 = 0;
/** Where in the file the segment's marker is. */
export let markerAt: usize = 0;
/** Set by bits that are no code. */
export let broken: bool = false;

/** Bytes that decode() needs as `scratch` for a scan of so many. */
export function scratchBytes(scan: i32): i32 {
  return scan + GUARD;
}

/** Begins with the scan's first segment, in the bytes from `scratch` on. */
export function beginScan(scratch: usize): void {
  top = scratch + <usize>scratchBytes(<i32>(scanEnd - scanStart));
  broken = false;
  memory.fill(BLOCK, 0, BLOCK_BYTES);
  begin(scanStart);
}

function begin(from: usize): void {
  memory.fill(predictions, 0, 12);
  unstuff(from);
}

/** Copies the bytes from `from` to the next marker below `top`, without what is stuffed in. */
function unstuff(from: usize): void {
  const end = scanEnd;
  const ones = i8x16.splat(-1);
  let p = from;
  let to = top;
  for (;;) {
    while (p + 16 <= end) {
      const bytes = v128.load(p);
      v128.store(to - 16, v128.shuffle<i8>(bytes, bytes, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
      const mask = i8x16.bitmask(i8x16.eq(bytes, ones));
      if (mask) {
        const plain = <usize>ctz(mask);
        p += plain;
        to -= plain;
        break;
      }
      p += 16;
      to -= 16;
    }
    // Here, or within the last 16 bytes: one byte at a time.
    if (p >= end) break;
    const byte = load<u8>(p);
    if (byte === 0xff) {
      let next = p + 1;
      while (next < end && load<u8>(next) === 0xff) next++;
      if (next >= end || load<u8>(next) !== 0) break;
      p = next;
    }
    p++;
    to--;
    store<u8>(to, byte);
  }
  markerAt = p;
  segmentBits = (<u32>(top - to)) << 3;
}

/** Goes on behind the restart marker number `index`, which must be next. */
export function restart(index: i32): bool {
  let p = markerAt;
  while (p < scanEnd && load<u8>(p) === 0xff) p++;
  if (p === markerAt || p >= scanEnd || <i32>load<u8>(p) !== 0xd0 + (index & 7)) return false;
  begin(p + 1);
  return true;
}

function window(bit: u32): u64 {
  return load<u64>(top - 8 - <usize>(bit >> 3)) << (<u64>(bit & 7));
}

function entryAt(table: usize, bits: u64): u32 {
  return load<u32>(table + ((<usize>(bits >> (64 - INDEX_BITS))) << 2));
}

function pairAt(table: usize, bits: u64): usize {
  return table + PAIRS + ((<usize>(bits >> (64 - INDEX_BITS))) << 3);
}

/** The value of `size` bits at the top of `bits`, 1…15. */
function extend(bits: u64, size: u32): i32 {
  const raw = <i32>(bits >> <u64>(64 - size));
  return raw - (~(<i32>(<i64>bits >> 63)) & ((1 << size) - 1));
}

/** Adds the next difference of a DC coefficient to what is predicted at `prediction`; gives the bits it took. */
function readDc(table: usize, bits: u64, prediction: usize): u32 {
  let entry = entryAt(table, bits);
  let difference = <i32>entry >> 16;
  let used = entry & 63;
  if (entry & LONG) {
    if (!used) entry = resolve(table, bits, false);
    if (!entry) broken = true;
    used = entry & 63;
    const size = entry >> 16;
    difference = size ? extend(bits << (<u64>used), size) : 0;
    used += size;
  }
  store<i32>(prediction, load<i32>(prediction) + difference);
  return used;
}

/** Reads the block at `bit` to `out`; gives the bit after it. */
export function keep(
  bit: u32,
  dc: usize,
  ac: usize,
  prediction: usize,
  quantiser: usize,
  out: usize,
  stride: usize,
): u32 {
  let bits = window(bit);
  let used = readDc(dc, bits, prediction);
  bits <<= <u64>used;
  const level = load<i32>(prediction);
  store<i16>(BLOCK, level);
  let index: u32 = 1;
  let lookups = LOOKUPS - 1;
  if (used > <u32>INDEX_BITS) {
    bit += used;
    bits = window(bit);
    used = 0;
  }
  for (;;) {
    const at = pairAt(ac, bits);
    const entry = load<u32>(at);
    if (entry & LONG) {
      bit += used;
      bits = window(bit);
      const symbol = entry & 63 ? entry : resolve(ac, bits, true);
      if (!symbol) broken = true;
      const code = symbol & 63;
      const size = symbol >> 16;
      index += (symbol >> 8) & 127;
      if (size) store<i16>(BLOCK + load<u8>(ZIGZAG + index - 1), extend(bits << (<u64>code), size));
      bit += code + size;
      used = 0;
      if (index >= 64 || broken) break;
      bits = window(bit);
      lookups = LOOKUPS;
      continue;
    }
    const second = load<u32>(at, 4);
    bits <<= <u64>entry;
    used += entry & 63;
    const before = index + ((entry >> 8) & 127);
    store<i16>(BLOCK + load<u8>(ZIGZAG + before - 1), entry >> 16);
    index = before + ((second >> 8) & 127);
    store<i16>(BLOCK + load<u8>(ZIGZAG + index - 1), second >> 16);
    if (index >= 64) {
      if (before >= 64) {
        // The second symbol, if there is one, is the next block's.
        store<i16>(BLOCK + load<u8>(ZIGZAG + before - 1), entry >> 16);
        used -= (entry & 63) - (second & 63);
        index = before;
      }
      break;
    }
    if (--lookups === 0) {
      bit += used;
      bits = window(bit);
      used = 0;
      lookups = LOOKUPS;
    }
  }
  // The end of the block came first.
  if (index === 1 + OVER) flat(level, quantiser, out, stride);
  else inverse(quantiser, out, stride);
  return bit + used;
}

/** Reads over the block at `bit`, but for its prediction; gives the bit after it. */
export function skip(bit: u32, dc: usize, ac: usize, prediction: usize): u32 {
  let bits = window(bit);
  let used = readDc(dc, bits, prediction);
  bits <<= <u64>used;
  let index: u32 = 1;
  let lookups = LOOKUPS - 1;
  if (used > <u32>INDEX_BITS) {
    bit += used;
    bits = window(bit);
    used = 0;
  }
  for (;;) {
    const at = pairAt(ac, bits);
    const entry = load<u32>(at);
    if (entry & LONG) {
      bit += used;
      bits = window(bit);
      const symbol = entry & 63 ? entry : resolve(ac, bits, true);
      if (!symbol) broken = true;
      bit += (symbol & 63) + (symbol >> 16);
      index += (symbol >> 8) & 127;
      used = 0;
      if (index >= 64 || broken) break;
      bits = window(bit);
      lookups = LOOKUPS;
      continue;
    }
    const second = load<u32>(at, 4);
    bits <<= <u64>entry;
    used += entry & 63;
    const before = index + ((entry >> 8) & 127);
    index = before + ((second >> 8) & 127);
    if (index >= 64) {
      if (before >= 64) used -= (entry & 63) - (second & 63);
      break;
    }
    if (--lookups === 0) {
      bit += used;
      bits = window(bit);
      used = 0;
      lookups = LOOKUPS;
    }
  }
  return bit + used;
}
