// The JPEG's markers up to its scan: sizes, quantisation and Huffman tables, each checked before anything uses it.

import { CLASSES, defineTable, huffmanTable, isDefined } from './huffman.part.as';
import { ZIGZAG } from './idct.part.as';

/** What a call gives back; planes.ts has the same numbers. */
export const OK: i32 = 0;
export const UNSUPPORTED: i32 = 1;
export const DAMAGED: i32 = 2;

const TABLES: i32 = 4;
const COMPONENTS: i32 = 3;

// Frame and scan; a component's fields lie COMPONENT bytes apart.
export let width: i32 = 0;
export let height: i32 = 0;
export let components: i32 = 0;
/** The luma blocks of an MCU across and down: 1 or 2. Chroma has one block. */
export let across: i32 = 0;
export let down: i32 = 0;
/** MCUs between restart markers; 0: there are none. */
export let restartInterval: i32 = 0;
export let scanStart: usize = 0;
export let scanEnd: usize = 0;

/** Quantisation tables as sixteen-bit factors in the order of a block; the one of a component is looked up when the scan begins. */
const quantisation: usize = memory.data(TABLES * 128, 16);
let quantisationDefined: i32 = 0;

const identifiers: usize = memory.data(COMPONENTS);
const quantisers: usize = memory.data(COMPONENTS);
const dcTables: usize = memory.data(COMPONENTS);
const acTables: usize = memory.data(COMPONENTS);

export function quantiserOf(component: i32): usize {
  return quantisation + <usize>load<u8>(quantisers + component) * 128;
}

export function dcTableOf(component: i32): usize {
  return huffmanTable(load<u8>(dcTables + component));
}

export function acTableOf(component: i32): usize {
  return huffmanTable(TABLES + load<u8>(acTables + component));
}

function big16(at: usize): i32 {
  return <i32>bswap<u16>(load<u16>(at));
}

/** Reads the `length` bytes at `at` up to the first scan. */
export function parse(at: usize, length: i32): i32 {
  const end = at + <usize>length;
  if (length < 4 || big16(at) !== 0xffd8) return DAMAGED;
  width = 0;
  restartInterval = 0;
  quantisationDefined = 0;
  // The Huffman tables' contents outlive a file, for the next one mostly has the same; their being defined does not.
  for (let i = 0; i < CLASSES * TABLES; i++) isDefined(i, false);
  let jfif = false;
  let adobe = -1;
  let p = at + 2;
  while (p + 4 <= end && load<u8>(p) === 0xff) {
    const marker = <i32>load<u8>(p + 1);
    if (marker === 0xff) {
      p++;
      continue;
    }
    const body = p + 4;
    const next = p + 2 + big16(p + 2);
    if (next < body || next > end) return DAMAGED;
    const bytes = <i32>(next - body);
    let result = OK;
    if (marker === 0xdb) result = readQuantisation(body, bytes);
    else if (marker === 0xc4) result = readHuffman(body, bytes);
    else if (marker === 0xc0 || marker === 0xc1) result = readFrame(body, bytes);
    else if (marker === 0xdd) {
      if (bytes !== 2) return DAMAGED;
      restartInterval = big16(body);
    } else if (marker === 0xe0) {
      // "JFIF\0"
      if (bytes >= 14 && load<u32>(body) === 0x4649464a && load<u8>(body + 4) === 0) {
        jfif = true;
        if (load<u8>(body + 5) !== 1) return UNSUPPORTED;
      }
    } else if (marker === 0xee) {
      // "Adobe", version, flags twice, transform.
      if (bytes >= 12 && load<u32>(body) === 0x626f6441 && load<u8>(body + 4) === 0x65) adobe = load<u8>(body + 11);
    } else if (marker === 0xda) {
      scanStart = next;
      scanEnd = end;
      return readScan(body, bytes, jfif, adobe);
    } else if (marker >= 0xc2 && marker <= 0xcf) return UNSUPPORTED;
    else if (marker < 0xe0 || (marker > 0xef && marker !== 0xfe)) return marker === 0xdc ? UNSUPPORTED : DAMAGED;
    if (result !== OK) return result;
    p = next;
  }
  return DAMAGED;
}

function readQuantisation(body: usize, bytes: i32): i32 {
  let p = body;
  const end = body + <usize>bytes;
  while (p < end) {
    const precision = load<u8>(p) >> 4;
    const slot = <i32>(load<u8>(p) & 15);
    p++;
    if (precision === 1) return UNSUPPORTED;
    if (precision > 1 || slot >= TABLES || p + 64 > end) return DAMAGED;
    const table = quantisation + <usize>(slot * 128);
    for (let i: usize = 0; i < 64; i++) store<u16>(table + load<u8>(ZIGZAG + i), load<u8>(p + i));
    quantisationDefined |= 1 << slot;
    p += 64;
  }
  return OK;
}

function readHuffman(body: usize, bytes: i32): i32 {
  let p = body;
  const end = body + <usize>bytes;
  while (p < end) {
    const kind = <i32>(load<u8>(p) >> 4);
    const slot = <i32>(load<u8>(p) & 15);
    p++;
    if (kind >= CLASSES || slot >= TABLES || p + 16 > end) return DAMAGED;
    let symbols = 0;
    let codes = 0;
    for (let i = 0; i < 16; i++) {
      symbols += load<u8>(p + i);
      codes += (<i32>load<u8>(p + i)) << (15 - i);
    }
    if (symbols > 256 || p + 16 + symbols > end) return DAMAGED;
    // All ones is no code.
    if (codes >= 0x10000) return DAMAGED;
    if (!defineTable(kind * TABLES + slot, p, symbols, kind === 1)) return DAMAGED;
    p += 16 + symbols;
  }
  return OK;
}

function readFrame(body: usize, bytes: i32): i32 {
  if (width !== 0 || bytes < 6) return DAMAGED;
  if (load<u8>(body) !== 8) return UNSUPPORTED;
  height = big16(body + 1);
  width = big16(body + 3);
  components = load<u8>(body + 5);
  if (bytes !== 6 + components * 3) return DAMAGED;
  // A height of 0 is told by a later marker.
  if (width === 0 || height === 0 || (components !== 1 && components !== 3)) return UNSUPPORTED;
  for (let i = 0; i < components; i++) {
    const at = body + 6 + i * 3;
    const sampling = <i32>load<u8>(at + 1);
    if (<i32>load<u8>(at + 2) >= TABLES) return DAMAGED;
    store<u8>(identifiers + i, load<u8>(at));
    store<u8>(quantisers + i, load<u8>(at + 2));
    const h = sampling >> 4;
    const v = sampling & 15;
    if (h < 1 || h > 4 || v < 1 || v > 4) return DAMAGED;
    if (i === 0) {
      // A scan of one component has MCUs of one block, whatever its sampling.
      across = components === 1 ? 1 : h;
      down = components === 1 ? 1 : v;
      if (across > 2 || down > 2) return UNSUPPORTED;
    } else if (h !== 1 || v !== 1) return UNSUPPORTED;
  }
  return OK;
}

function readScan(body: usize, bytes: i32, jfif: bool, adobe: i32): i32 {
  if (width === 0 || bytes < 1) return DAMAGED;
  const count = <i32>load<u8>(body);
  if (bytes !== 4 + count * 2) return DAMAGED;
  if (count !== components) return UNSUPPORTED;
  for (let i = 0; i < count; i++) {
    const at = body + 1 + i * 2;
    const dc = <i32>(load<u8>(at + 1) >> 4);
    const ac = <i32>(load<u8>(at + 1) & 15);
    // Another order than the frame's is not baseline.
    if (load<u8>(at) !== load<u8>(identifiers + i)) return UNSUPPORTED;
    if (dc >= TABLES || ac >= TABLES) return DAMAGED;
    if (!isDefined(dc, true) || !isDefined(TABLES + ac, true)) return DAMAGED;
    if (!(quantisationDefined & (1 << load<u8>(quantisers + i)))) return DAMAGED;
    store<u8>(dcTables + i, dc);
    store<u8>(acTables + i, ac);
  }
  // All coefficients at once, as a sequential scan must have them: 0, 63, 0.
  const spectral = body + 1 + <usize>(count * 2);
  if (load<u8>(spectral) !== 0 || load<u8>(spectral + 1) !== 63 || load<u8>(spectral + 2) !== 0) return UNSUPPORTED;
  if (components === 3 && !jfif) {
    if (adobe === 0 || adobe > 2) return UNSUPPORTED;
    const rgb =
      load<u8>(identifiers) === 0x52 && load<u8>(identifiers + 1) === 0x47 && load<u8>(identifiers + 2) === 0x42;
    if (adobe < 0 && rgb) return UNSUPPORTED;
  }
  return OK;
}
