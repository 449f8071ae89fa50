// libjpeg-turbo for packing: decodes to, and encodes from, memory that is used again.

import { createRequire } from 'node:module';
import { decodeJpegInto, jpegTurbo } from '#shards';
import type { Pixels } from './kernel/resizer.ts';

/** Of the addon; 2.3.0 holds libjpeg-turbo 3.1.2. Its pixels and bytes are the same on every machine. */
export const JPEG_TURBO_VERSION = (
  createRequire(import.meta.url)('@julusian/jpeg-turbo/package.json') as { version: string }
).version;

/** Scratch memory up to this is kept for the next image. */
const KEEP_BYTES = 64 * 1024 * 1024;
let scratch = Buffer.alloc(0);

function scratchOf(bytes: number): Buffer {
  if (bytes <= scratch.length) return scratch;
  const buffer = Buffer.allocUnsafeSlow(bytes);
  if (bytes <= KEEP_BYTES) scratch = buffer;
  return buffer;
}

/**
 * Pixels of a JPEG whose header says this size, in memory that the next call overwrites; null where libjpeg-turbo
 * refuses the file or only warns of it.
 */
export function decodeJpeg(jpeg: Buffer, { width, height }: { width: number; height: number }): Pixels | null {
  const data = scratchOf(width * height * 3).subarray(0, width * height * 3);
  return decodeJpegInto(jpeg, { width, height }, data) ? { data, width, height } : null;
}

export interface JpegSettings {
  /** 1 … 100. */
  readonly quality: number;
  readonly chroma: '4:2:0' | '4:4:4';
}

/** A baseline JPEG with the standard Huffman tables and no metadata. */
export function encodeJpeg({ data, width, height }: Pixels, { quality, chroma }: JpegSettings): Uint8Array {
  const turbo = jpegTurbo();
  const subsampling = chroma === '4:2:0' ? turbo.SAMP_420 : turbo.SAMP_444;
  const out = scratchOf(turbo.bufferSize({ width, height, subsampling }));
  const rgb = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return new Uint8Array(
    turbo.compressSync(rgb, out, { format: turbo.FORMAT_RGB, width, height, quality, subsampling }),
  );
}
