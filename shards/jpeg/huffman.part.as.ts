// Huffman tables: eleven bits of the scan give a symbol, a pair to keep, or the length of as many as lie in them.

/** DC and AC. */
export const CLASSES: i32 = 2;
const SLOTS: i32 = 8;

/** Bits that a table is looked up by. With 12 the tables of luma and chroma leave 48 KB of L1, and kept blocks take 4 % more. */
export const INDEX_BITS: i32 = 11;
const INDEXES: u32 = 1 << INDEX_BITS;
/** No pair and no string takes more, so that three of them take no more than the 56 bits that are there. */
const MOST_BITS: u32 = 18;

// A table begins with u32 per index, the symbol that begins there: bits 0–5 those it takes with its value, 8–13 those of
// its code, 16–21 63 less those of its value, 24–31 how far it goes on in the block. 0 if its code is longer, or none.

/** How far the end of a block goes on: from any coefficient beyond all runs. */
export const OVER: u32 = 128;

/**
 * Of AC tables, eight bytes per index: two symbols, of which the first lies whole in the index with its value, and of the
 * second the code. A single symbol is the second, and the first goes as far. Byte 0: the bits of both.
 */
export const PAIRS: usize = 4 << INDEX_BITS;
/** Bits before the second's value, and 63 less those of that value. */
export const PAIR_OFFSET: usize = 1;
export const PAIR_SHIFT: usize = 2;
/** How far the first goes on; PAIR_NONE, with 0 bits, if not even one symbol's code lies in the index. */
export const PAIR_FIRST: usize = 3;
export const PAIR_NONE: u32 = 192;
/** i16: the first's value. */
export const PAIR_VALUE: usize = 4;
/** How far the second goes on from the first. */
export const PAIR_SECOND: usize = 6;

/** Of AC tables, u16 per index: the symbols whose codes lie whole in it. Bits 0–5 those they take, 6–15 how far they go on. */
export const STRINGS: usize = PAIRS + (8 << INDEX_BITS);
/** No bits, and further than any block goes on. */
const STRING_NONE: u32 = 64 << 6;

/** u32 per code length 0…17: the first code, left-aligned in 16 bits, that is longer. */
const BOUNDS: i32 = <i32>STRINGS + (2 << INDEX_BITS);
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

/** As a table has it, of a code of `length` bits. */
function symbolOf(value: i32, length: i32, ac: bool): u32 {
  const size = value & 15;
  const end = ac && size === 0 && value !== 0xf0;
  const advance = end ? OVER : <u32>(value >> 4) + 1;
  return <u32>(length + size) | ((<u32>length) << 8) | ((<u32>(63 - size)) << 16) | (advance << 24);
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
  memory.fill(table, 0, 4 << INDEX_BITS);
  let code: u32 = 0;
  let index = 0;
  for (let bits = 1; bits <= 16; bits++) {
    store<i32>(table + DELTAS + bits * 4, index - <i32>code);
    const count = <i32>load<u8>(from + bits - 1);
    for (let i = 0; i < count; i++, index++, code++) {
      if (code >= 1 << bits) return false;
      const symbol = <i32>load<u8>(from + 16 + index);
      if (!ac && symbol > 15) return false;
      if (bits <= INDEX_BITS) fill(table, code, bits, symbolOf(symbol, bits, ac));
    }
    store<u32>(table + BOUNDS + bits * 4, code << (16 - bits));
    code <<= 1;
  }
  if (ac) combine(table);
  memory.copy(specified, from, length);
  store<i32>(lengths + slot * 4, length);
  store<u8>(defined + slot, 1);
  return true;
}

/** All indexes that begin with `code`. */
function fill(table: usize, code: u32, length: i32, symbol: u32): void {
  const free = INDEX_BITS - length;
  const first = table + (((<usize>code) << free) << 2);
  for (let i: usize = 0; i < (<usize>1) << free; i++) store<u32>(first + (i << 2), symbol);
}

/** The symbol behind `used` bits of an index, if its code lies whole in it and the bits of all are not too many; or 0. */
function follower(table: usize, index: u32, used: u32): u32 {
  const symbol = load<u32>(table + (((index << used) & (INDEXES - 1)) << 2));
  const whole = used + ((symbol >> 8) & 63) <= <u32>INDEX_BITS && used + (symbol & 63) <= MOST_BITS;
  return whole ? symbol : 0;
}

/** Makes PAIRS and STRINGS of the symbols. */
function combine(table: usize): void {
  for (let index: u32 = 0; index < INDEXES; index++) {
    const pair = table + PAIRS + (index << 3);
    const string = table + STRINGS + (index << 1);
    const first = follower(table, index, 0);
    if (!first) {
      store<u64>(pair, (<u64>PAIR_NONE) << 24);
      store<u16>(string, STRING_NONE);
      continue;
    }
    let used = first & 63;
    let advance = first >> 24;
    let next: u32 = advance === OVER ? 0 : follower(table, index, used);
    store<u32>(pair, first);
    store<u32>(pair, 0, 4);
    if (next) {
      const size = 63 - ((first >> 16) & 63);
      // The bits before the first's value are shifted out, and those behind it.
      const value = size ? extended(<i32>(index << (32 - INDEX_BITS + used - size)), size) : 0;
      store<u8>(pair, used + (next & 63));
      store<u8>(pair, used + ((next >> 8) & 63), PAIR_OFFSET);
      store<u8>(pair, next >> 16, PAIR_SHIFT);
      store<u16>(pair, value, PAIR_VALUE);
      store<u8>(pair, next >> 24, PAIR_SECOND);
    }
    while (next) {
      used += next & 63;
      advance += next >> 24;
      next = advance >= OVER ? 0 : follower(table, index, used);
      // What goes beyond a block without its end could not be told from the end.
      if (next >> 24 < OVER && advance + (next >> 24) >= 64) next = 0;
    }
    store<u16>(string, used | (advance << 6));
  }
}

/** The value of `size` bits, 1…10, at the top of `bits`. */
function extended(bits: i32, size: u32): i32 {
  const raw = <i32>(<u32>bits >> (32 - size));
  return bits < 0 ? raw : raw - (1 << size) + 1;
}

/** The symbol, as a table has it, of a code longer than INDEX_BITS at the top of `bits`; 0 if there is no such code. */
export function resolve(table: usize, bits: u64, ac: bool): u32 {
  const code = <u32>(bits >> 48);
  for (let length = INDEX_BITS + 1; length <= 16; length++) {
    if (code >= load<u32>(table + BOUNDS + length * 4)) continue;
    const index = <i32>(code >> (16 - length)) + load<i32>(table + DELTAS + length * 4);
    return symbolOf(load<u8>(table + SPECIFIED + 16 + (index & 255)), length, ac);
  }
  return 0;
}
