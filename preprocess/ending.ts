// Whether a file stops before the end that its own format announces. Told from the bytes, because libvips keeps its
// messages in one place for all threads, and a worker may be handed another's.

import { jpegEndsEarly } from './jpeg-header.ts';

/** `what` as `sniff` names it; formats without an end of their own give false. */
export function endsEarly(file: Uint8Array, what: string): boolean {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (what === 'JPEG') return jpegEndsEarly(bytes);
  if (what === 'PNG') return pngEndsEarly(bytes);
  // RIFF counts what follows its own eight bytes.
  if (what === 'WebP') return bytes.length < 12 || bytes.length - 8 < bytes.readUInt32LE(4);
  if (what === 'GIF') return gifEndsEarly(bytes);
  return false;
}

function pngEndsEarly(bytes: Buffer): boolean {
  let at = 8;
  while (at + 12 <= bytes.length) {
    const type = bytes.toString('latin1', at + 4, at + 8);
    // What follows a chunk that is none cannot be told.
    if (type === 'IEND' || !/^[A-Za-z]{4}$/.test(type)) return false;
    at += 12 + bytes.readUInt32BE(at);
  }
  return true;
}

/**
 * GIF = "GIF8" … colour-table? block* 3B, where a block is 21 label sub-blocks or 2C descriptor colour-table? code-size
 * sub-blocks, and sub-blocks are length:u8 bytes … until a length of 0.
 */
function gifEndsEarly(bytes: Buffer): boolean {
  /** Bytes of the colour table that a flags byte announces. */
  const table = (flags = 0): number => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let at = 13 + table(bytes[10]);
  while (at < bytes.length) {
    const block = bytes[at];
    if (block === 0x3b) return false;
    if (block === 0x21) at += 2;
    else if (block === 0x2c) at += 11 + table(bytes[at + 9]);
    else return false; // no block: damaged, and what follows cannot be told
    while (at < bytes.length && bytes[at] !== 0) at += 1 + (bytes[at] as number);
    at += 1;
  }
  return true;
}
