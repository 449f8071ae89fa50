// What is refused by a file's own claims, before a pixel is decoded: the limits of size, shape and time.

import { type JpegHeader, walkScans } from './jpeg-header.ts';
import type { Rejection } from './rejects.ts';
import { MAX_ASPECT, MAX_PIXELS, MAX_SCANS, MAX_SIDE, type Size } from './resize.ts';

/** Null where the size is one that is decoded. */
export function refuseSize({ width, height }: Size): Rejection | null {
  const size = `${width} × ${height} pixels`;
  if (width * height > MAX_PIXELS || Math.max(width, height) > MAX_SIDE)
    return { code: 'too-large', reason: `has ${size}, more than ${MAX_PIXELS} or a side above ${MAX_SIDE}` };
  if (Math.max(width, height) > MAX_ASPECT * Math.min(width, height))
    return { code: 'aspect-ratio', reason: `has ${size}: one side is more than ${MAX_ASPECT} times the other` };
  return null;
}

/** Null where nothing that a JPEG's header says speaks against decoding it. */
export function refuseJpeg(header: JpegHeader): Rejection | null {
  const { coding, precision, width, height, components, colour } = header;
  const unsupported = (what: string): Rejection => ({ code: 'unsupported', reason: `is a JPEG ${what}` });
  if (coding === 'lossless' || coding === 'hierarchical') return unsupported(`of the ${coding} kind`);
  if (precision !== 8) return unsupported(`of ${precision} bits a sample, not 8`);
  if (colour === null) return unsupported(`of ${components.length} components`);
  if (width === 0) return damaged(`its frame is ${width} × ${height}`);
  if (height === 0) return unsupported('whose height stands behind its pixels (DNL)');
  if (components.some(({ h, v }) => h === 0 || v === 0)) return damaged('a component is sampled 0 times');
  return refuseSize(header);
}

/** Null where a JPEG's scans are not too many and the file holds their end: decoders make up what is missing. */
export function refuseScans(header: JpegHeader, file: Buffer): Rejection | null {
  const { scans, ending } = walkScans(file, header.scanStart, MAX_SCANS + 1);
  if (scans > MAX_SCANS) return { code: 'too-large', reason: `is a JPEG of more than ${MAX_SCANS} scans` };
  if (ending === 'damaged') return damaged('its scan holds a marker that does not exist');
  if (ending === 'cut' || file.length - header.scanStart < leastScanBytes(header))
    return { code: 'truncated', reason: `is a JPEG that ends before its image does (${file.length} bytes)` };
  return null;
}

function damaged(why: string): Rejection {
  return { code: 'damaged', reason: `is a JPEG that cannot be decoded: ${why}` };
}

/**
 * What the pixels take at the very least: with Huffman codes, each block a bit for its first coefficient, and a second
 * bit for the others unless they come later. A file below it only makes a decoder allocate.
 */
function leastScanBytes({ arithmetic, coding, components, width, height }: JpegHeader): number {
  if (arithmetic) return 0;
  const h = Math.max(...components.map((component) => component.h));
  const v = Math.max(...components.map((component) => component.v));
  const blocks = components.reduce(
    (sum, component) => sum + ((width * component.h) / h / 8) * ((height * component.v) / v / 8),
    0,
  );
  return Math.floor((blocks * (coding === 'progressive' ? 1 : 2)) / 8);
}

/** Null where a GIF's canvas is one that may be decoded. libvips looks at the first frame only. */
export function refuseGif(file: Buffer): Rejection | null {
  if (file.length < 10) return null;
  const size = { width: file.readUInt16LE(6), height: file.readUInt16LE(8) };
  // Writers that left it empty mean the frame.
  return size.width * size.height === 0 ? null : refuseSize(size);
}

/** Settles as `work` does, or with `timeout` after so many ms. The work itself cannot be ended from here. */
export async function within<T>(timeoutMs: number, work: Promise<T>): Promise<T | 'timeout'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'timeout'>((resolve) => {
    timer = setTimeout(() => resolve('timeout'), timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
