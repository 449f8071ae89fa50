// Huffman tables: ten bits of the scan give a symbol whole, in most cases with its value.

import { OVER } from './idct.part.as';

/** DC and AC. */
export const CLASSES: i32 = 2;
const SLOTS: i32 = 8;

/** Bits that a table is looked up by. */
export const INDEX_BITS: i32 = 11;

// An entry: bits 0–5 the bits that it takes, 8–14 how far it goes on in the block, 16–31 the value (signed). With LONG
// set the bits are the code's alone, and 16–31 is the size of the value that follows; LONG alone is a longer code's
// beginning, or none's: see resolve().
export const LONG: u32 = 1 << 15;

const ENTRIES: i32 = 4 << INDEX_BITS;
/** Of AC tables: eight bytes an index, the entry with the bits of two symbols and then its second symbol. */
export const PAIRS: i32 = ENTRIES;
/** u32 per code length 0…17: the first code, left-aligned in 16 bits, that is longer. */
const BOUNDS: i32 = PAIRS + ENTRIES * 2;
/** i32 per code length: what a code of this length lacks to its symbol's index. */
const DELTAS: i32 = BOUNDS + 18 * 4;
/** The 16 counts, then up to 256 symbols: the table as the file has it. */
const SPECIFIED: i32 = DELTAS + 18 * 4;
const TABLE_BYTES: i32 = (SPECIFIED + 16 + 256 + 15) & ~15;

const tables: usize = memory.data(SLOTS * TABLE_BYTES, 16);
const lengths: usize = memory.data(SLOTS * 4, 4);
const defined: usize = memory.data(SLOTS);

export function huffmanTable(slot: i32): usize {
  return tables + <usize>(slot * TABLE_BYTES);
}

/** Whether this file has defined the table; with `keep` false it has not. */
export function isDefined(slot: i32, keep: bool): bool {
  if (!keep) store<u8>(defined + slot, 0);
  return load<u8>(defined + slot) !== 0;
}

/** An entry without a value, or with one that does not fit into INDEX_BITS: run and size of `symbol`. */
function entryOf(symbol: i32, bits: i32, ac: bool): u32 {
  const size = symbol & 15;
  let advance = (symbol >> 4) + 1;
  if (ac && size === 0 && symbol !== 0xf0) advance = OVER;
  return <u32>bits | ((<u32>advance) << 8) | (size ? LONG | ((<u32>size) << 16) : 0);
}

/** Sets a table from the 16 counts and the symbols at `from`. False: no prefix code, or a symbol of no meaning. */
export function defineTable(slot: i32, from: usize, symbols: i32, ac: bool): bool {
  const table = huffmanTable(slot);
  const specified = table + SPECIFIED;
  const length = 16 + symbols;
  if (load<i32>(lengths + slot * 4) === length && memory.compare(specified, from, length) === 0) {
    store<u8>(defined + slot, 1);
    return true;
  }
  store<i32>(lengths + slot * 4, 0);
  store<u8>(defined + slot, 0);
  const none = i32x4.splat(LONG);
  for (let i: usize = 0; i < <usize>ENTRIES; i += 16) v128.store(table + i, none);
  let code: u32 = 0;
  let index = 0;
  for (let bits = 1; bits <= 16; bits++) {
    store<i32>(table + DELTAS + bits * 4, index - <i32>code);
    const count = <i32>load<u8>(from + bits - 1);
    for (let i = 0; i < count; i++, index++, code++) {
      if (code >= 1 << bits) return false;
      const symbol = <i32>load<u8>(from + 16 + index);
      if (!ac && symbol > 15) return false;
      if (bits <= INDEX_BITS) fill(table, code, bits, symbol, ac);
    }
    store<u32>(table + BOUNDS + bits * 4, code << (16 - bits));
    code <<= 1;
  }
  if (ac) pairUp(table);
  memory.copy(specified, from, length);
  store<i32>(lengths + slot * 4, length);
  store<u8>(defined + slot, 1);
  return true;
}

/** All entries that begin with `code`. */
function fill(table: usize, code: u32, bits: i32, symbol: i32, ac: bool): void {
  const free = INDEX_BITS - bits;
  const size = symbol & 15;
  const plain = entryOf(symbol, bits, ac);
  const first = table + (((<usize>code) << free) << 2);
  if (size === 0 || size > free) {
    for (let i: usize = 0; i < (<usize>1) << free; i++) store<u32>(first + (i << 2), plain);
    return;
  }
  const unused = free - size;
  const head = (plain & 0x7f00) | <u32>(bits + size);
  for (let raw = 0; raw < 1 << size; raw++) {
    const value = raw < 1 << (size - 1) ? raw - (1 << size) + 1 : raw;
    const entry = head | ((<u32>value) << 16);
    const at = first + (((<usize>raw) << unused) << 2);
    for (let i: usize = 0; i < (<usize>1) << unused; i++) store<u32>(at + (i << 2), entry);
  }
}

/**
 * Makes PAIRS. A pair is two words as entries are: the first with the bits of both, the second with the bits of the first
 * alone. Where no second symbol lies whole in the index, it is the first again, going on by 0.
 */
function pairUp(table: usize): void {
  for (let i: u32 = 0; i < 1 << INDEX_BITS; i++) {
    let first = load<u32>(table + ((<usize>i) << 2));
    const used = first & 63;
    let second = (first & 0xffff0000) | used;
    if (!(first & LONG) && ((first >> 8) & 127) < <u32>OVER) {
      const next = load<u32>(table + ((<usize>((i << used) & ((1 << INDEX_BITS) - 1))) << 2));
      if (!(next & LONG) && used + (next & 63) <= <u32>INDEX_BITS) {
        second = (next & 0xffffff00) | used;
        first += next & 63;
      }
    }
    store<u32>(table + PAIRS + ((<usize>i) << 3), first);
    store<u32>(table + PAIRS + ((<usize>i) << 3), second, 4);
  }
}

/** The entry, without a value, of a code longer than INDEX_BITS at the top of `bits`; 0 if there is no such code. */
export function resolve(table: usize, bits: u64, ac: bool): u32 {
  const code = <u32>(bits >> 48);
  for (let length = INDEX_BITS + 1; length <= 16; length++) {
    if (code >= load<u32>(table + BOUNDS + length * 4)) continue;
    const index = <i32>(code >> (16 - length)) + load<i32>(table + DELTAS + length * 4);
    return entryOf(load<u8>(table + SPECIFIED + 16 + (index & 255)), length, ac);
  }
  return 0;
}
