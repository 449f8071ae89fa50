// Whether a file stops before the end that its own format announces. Told from the bytes, because libvips keeps its
// messages in one place for all threads, and a worker may be handed another's.

/** `what` as `sniff` names it; formats without an end of their own give false. */
export function endsEarly(file: Uint8Array, what: string): boolean {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (what === 'JPEG') return jpegEndsEarly(bytes);
  if (what === 'PNG') return pngEndsEarly(bytes);
  // RIFF counts what follows its own eight bytes.
  if (what === 'WebP') return bytes.length < 12 || bytes.length - 8 < bytes.readUInt32LE(4);
  if (what === 'GIF') return bytes.lastIndexOf(0x3b) < 13;
  return false;
}

/** Walks the segments to the first scan, so that a thumbnail's end is not taken for the image's, then looks for EOI. */
function jpegEndsEarly(bytes: Buffer): boolean {
  let at = 2;
  while (at + 4 <= bytes.length) {
    if (bytes[at] !== 0xff) return false;
    const marker = bytes[at + 1] as number;
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    if (marker === 0xd9) return false;
    if (marker === 0xda) return bytes.indexOf(Uint8Array.of(0xff, 0xd9), at) < 0;
    at += 2 + bytes.readUInt16BE(at + 2);
  }
  return true;
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
