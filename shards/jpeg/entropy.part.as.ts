// The scan's blocks of coefficients, MCU by MCU: kept and transformed, or read over.
//
// Nearly all time goes into a chain: bits give an entry, whose length shifts the bits. A block has some 18 symbols, so an entry
// holds two (kept) or more (read over), and three lookups follow a load of bits; they are written out, for a counter costs
// 3 %. What is not in the chain is loaded byte by byte: shifts, which only two of the CPU's ports do, would cost 7 %.

import { across, acTableOf, components, dcTableOf, down, quantiserOf } from './header.part.as';
import {
  INDEX_BITS,
  OVER,
  PAIR_FIRST,
  PAIR_NONE,
  PAIR_OFFSET,
  PAIR_SECOND,
  PAIR_SHIFT,
  PAIR_VALUE,
  PAIRS,
  resolve,
  STRINGS,
} from './huffman.part.as';
import { BLOCK, BLOCK_BYTES, flat, inverse, LAST, ZIGZAG } from './idct.part.as';
import { segmentBits, top } from './segment.part.as';

/** Given back in the place of a bit where there is no code, or the segment has ended. */
export const BROKEN: u32 = u32.MAX_VALUE;

/** i32 per component: the last DC coefficient. */
const predictions: usize = memory.data(3 * 4, 4);

// Of each block of an MCU in the scan's order, u32 each.
const DC: usize = 0;
const AC: usize = 4;
const PREDICTION: usize = 8;
const QUANTISER: usize = 12;
/** Where its samples go; moved on by STEP after each MCU. */
const OUT: usize = 16;
const STEP: usize = 20;
const STRIDE: usize = 24;
const FIELDS: usize = 28;
const blocks: usize = memory.data(6 * <i32>FIELDS, 4);
let blocksEnd: usize = blocks;

/** Before a scan, of whose MCUs `mcus` are kept in a row: lays out an MCU's blocks. */
export function beginScan(mcus: i32): void {
  // A scan that ended with BROKEN has left coefficients.
  memory.fill(BLOCK, 0, BLOCK_BYTES);
  let block = blocks;
  for (let c = 0; c < components; c++) {
    const h = c ? 1 : across;
    const v = c ? 1 : down;
    for (let i = h * v; i > 0; i--) {
      store<usize>(block, dcTableOf(c), DC);
      store<usize>(block, acTableOf(c), AC);
      store<usize>(block, predictions + c * 4, PREDICTION);
      store<usize>(block, quantiserOf(c), QUANTISER);
      store<i32>(block, h * 8, STEP);
      store<i32>(block, mcus * h * 8, STRIDE);
      block += FIELDS;
    }
  }
  blocksEnd = block;
}

/** The next MCU that is kept is the first in row `row` of the planes at `out`, which have `rows` rows of MCUs. */
export function beginRow(out: usize, row: i32, rows: i32): void {
  let block = blocks;
  let plane = out;
  for (let c = 0; c < components; c++) {
    const h = c ? 1 : across;
    const v = c ? 1 : down;
    const stride = load<i32>(block, STRIDE);
    const left = plane + <usize>(row * v * 8 * stride);
    for (let i = 0; i < v; i++)
      for (let j = 0; j < h; j++) {
        store<usize>(block, left + <usize>(i * 8 * stride + j * 8), OUT);
        block += FIELDS;
      }
    plane += <usize>(rows * v * 8 * stride);
  }
}

/** At the scan's begin and after each restart marker. */
export function resetPredictions(): void {
  memory.fill(predictions, 0, 12);
}

// The next bits are the upper ones of `bits`, as many as the lower six bits of `left` say; those behind them are the ones
// at the top of a load from `source`.

function refill(bits: u64, source: usize, left: u64): u64 {
  return bits | (load<u64>(source) >> left);
}

/** After refill(): where the next load is, when `left` becomes left | 56. */
function behind(source: usize, left: u64): usize {
  return source - <usize>((~left >> 3) & 7);
}

function bitAt(source: usize, left: u64): u32 {
  return ((<u32>(top - 8 - source)) << 3) - <u32>(left & 63);
}

/** The symbol at the top of `bits`, or 0 for none. */
function symbolAt(table: usize, bits: u64, ac: bool): u32 {
  return load<u32>(table + ((<usize>(bits >> (64 - INDEX_BITS))) << 2)) || resolve(table, bits, ac);
}

/** The value at the top of `bits`, of 63 − `shift` bits. One that begins with 0 is negative, with all bits inverted. */
function extend(bits: u64, shift: u64): i32 {
  const sign = <u64>(<i64>~bits >> 63);
  return <i32>(((((bits ^ sign) >> 1) >> shift) ^ sign) - sign);
}

function valueAt(symbol: u32, bits: u64): i32 {
  return extend(bits << (<u64>symbol >> 8), <u64>symbol >> 16);
}

/** Adds the difference that `symbol` begins to what is predicted. */
function predict(block: usize, symbol: u32, bits: u64): i32 {
  const prediction = load<usize>(block, PREDICTION);
  const level = load<i32>(prediction) + valueAt(symbol, bits);
  store<i32>(prediction, level);
  return level;
}

function put(index: u32, value: i32): void {
  store<i16>(BLOCK + load<u8>(ZIGZAG + index), value);
}

function pairAt(table: usize, bits: u64): usize {
  return table + ((<usize>(bits >> (64 - INDEX_BITS))) << 3);
}

/** Puts the coefficients of the pair `at`, which follows `index`, into the block; gives the index of its last. */
function putPair(at: usize, index: u32, bits: u64): u32 {
  const first = index + load<u8>(at, PAIRS + PAIR_FIRST);
  const second = first + load<u8>(at, PAIRS + PAIR_SECOND);
  put(first, load<u16>(at, PAIRS + PAIR_VALUE));
  put(second, extend(bits << load<u8>(at, PAIRS + PAIR_OFFSET), load<u8>(at, PAIRS + PAIR_SHIFT)));
  return second;
}

function stringAt(table: usize, bits: u64): u32 {
  return load<u16>(table + ((<usize>(bits >> (64 - INDEX_BITS))) << 1), STRINGS);
}

/** Decodes `mcus` MCUs from `bit` of the segment on; gives the bit after them, or BROKEN. */
export function keep(bit: u32, mcus: i32): u32 {
  let source = top - 8 - <usize>(bit >> 3);
  let bits = load<u64>(source) << (<u64>(bit & 7));
  let left: u64 = 56 - <u64>(bit & 7);
  source -= 7;
  for (; mcus > 0; mcus--) {
    for (let block = blocks; block < blocksEnd; block += FIELDS) {
      bits = refill(bits, source, left);
      source = behind(source, left);
      left |= 56;
      const dc = symbolAt(load<usize>(block, DC), bits, false);
      if (!dc) return BROKEN;
      const level = predict(block, dc, bits);
      store<i16>(BLOCK, level);
      bits <<= <u64>dc;
      left -= <u64>dc;

      const ac = load<usize>(block, AC);
      let index: u32 = 0;
      do {
        bits = refill(bits, source, left);
        source = behind(source, left);
        left |= 56;
        let at = pairAt(ac, bits);
        index = putPair(at, index, bits);
        let before = bits;
        bits <<= load<u8>(at, PAIRS);
        left -= load<u8>(at, PAIRS);
        if (index < LAST) {
          at = pairAt(ac, bits);
          index = putPair(at, index, bits);
          before = bits;
          bits <<= load<u8>(at, PAIRS);
          left -= load<u8>(at, PAIRS);
          if (index < LAST) {
            at = pairAt(ac, bits);
            index = putPair(at, index, bits);
            before = bits;
            bits <<= load<u8>(at, PAIRS);
            left -= load<u8>(at, PAIRS);
          }
        }
        if (index < LAST) continue;

        if (!load<u8>(at, PAIRS)) {
          // One symbol that has no entry.
          index -= PAIR_NONE;
          bits = refill(bits, source, left);
          source = behind(source, left);
          left |= 56;
          const symbol = symbolAt(ac, bits, true);
          if (!symbol) return BROKEN;
          index += symbol >> 24;
          put(index, valueAt(symbol, bits));
          bits <<= <u64>symbol;
          left -= <u64>symbol;
          continue;
        }
        const second = <u32>load<u8>(at, PAIRS + PAIR_SECOND);
        if (second && index - second >= LAST) {
          // The block ended with the first; the second is the next block's.
          index -= second;
          put(index, load<u16>(at, PAIRS + PAIR_VALUE));
          const symbol = symbolAt(ac, before, true);
          bits = before << (<u64>symbol);
          left += load<u8>(at, PAIRS);
          left -= <u64>symbol;
        }
      } while (index < LAST);

      const out = load<usize>(block, OUT);
      const stride = load<usize>(block, STRIDE);
      // The end of the block came first.
      if (index === OVER) flat(level, load<usize>(block, QUANTISER), out, stride);
      else inverse(load<usize>(block, QUANTISER), out, stride);
      store<usize>(block, out + load<usize>(block, STEP), OUT);
    }
    if (bitAt(source, left) > segmentBits) return BROKEN;
  }
  return bitAt(source, left);
}

/** Reads over `mcus` MCUs from `bit` of the segment on, but for the predictions; gives the bit after them, or BROKEN. */
export function skip(bit: u32, mcus: i32): u32 {
  let source = top - 8 - <usize>(bit >> 3);
  let bits = load<u64>(source) << (<u64>(bit & 7));
  let left: u64 = 56 - <u64>(bit & 7);
  source -= 7;
  for (; mcus > 0; mcus--) {
    for (let block = blocks; block < blocksEnd; block += FIELDS) {
      bits = refill(bits, source, left);
      source = behind(source, left);
      left |= 56;
      const dc = symbolAt(load<usize>(block, DC), bits, false);
      if (!dc) return BROKEN;
      predict(block, dc, bits);
      bits <<= <u64>dc;
      left -= <u64>dc;

      const ac = load<usize>(block, AC);
      let index: u32 = 0;
      for (;;) {
        bits = refill(bits, source, left);
        source = behind(source, left);
        left |= 56;
        let string = stringAt(ac, bits);
        index += string >> 6;
        let before = bits;
        bits <<= <u64>string;
        left -= <u64>string;
        if (index < LAST) {
          string = stringAt(ac, bits);
          index += string >> 6;
          before = bits;
          bits <<= <u64>string;
          left -= <u64>string;
          if (index < LAST) {
            string = stringAt(ac, bits);
            index += string >> 6;
            before = bits;
            bits <<= <u64>string;
            left -= <u64>string;
          }
        }
        if (index < LAST) continue;
        // The string's end is the block's: its last coefficient, or the code for its end behind another one.
        if (index === LAST || index - OVER < LAST) break;

        // A symbol without an entry, or a string that goes on in the next block: one symbol.
        index -= string >> 6;
        left += <u64>string;
        bits = refill(before, source, left);
        source = behind(source, left);
        left |= 56;
        const symbol = symbolAt(ac, bits, true);
        if (!symbol) return BROKEN;
        index += symbol >> 24;
        bits <<= <u64>symbol;
        left -= <u64>symbol;
        if (index >= LAST) break;
      }
    }
    if (bitAt(source, left) > segmentBits) return BROKEN;
  }
  return bitAt(source, left);
}
