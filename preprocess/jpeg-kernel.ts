// The JPEG decoder of our own for packing: the accurate DCT, the same pixels on every machine.

import { RgbDecoder, type RgbRows } from '#shards';

/** What a decoder may keep between two images; one that needed more is let go. */
const KEEP_BYTES = 64 * 1024 * 1024;
let decoder: RgbDecoder | undefined;

/** Pixels of a JPEG whose header says this size, until the next call; null where this decoder does not take it. */
export function decodeBaseline(jpeg: Buffer, size: { width: number; height: number }): RgbRows | null {
  decoder ??= RgbDecoder.load();
  const rows = decoder.decode(jpeg, size);
  if (decoder.memoryBytes > KEEP_BYTES) decoder = undefined;
  return typeof rows === 'string' ? null : rows;
}
