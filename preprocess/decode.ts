// A source's bytes → its RGB pixels: a baseline JPEG by the decoder of our own, other ordinary ones by libjpeg-turbo,
// everything else by sharp. Which of them it is, and by how much the image is reduced, depends on the bytes and the
// request alone.

import { loadSharp, type RgbRows } from '#shards';
import { endsEarly } from './ending.ts';
import { refuseGif, refuseJpeg, refuseScans, refuseSize, within } from './guard.ts';
import { type JpegHeader, readJpegHeader } from './jpeg-header.ts';
import { decodeBaseline } from './jpeg-kernel.ts';
import { rowsOf } from './kernel/resizer.ts';
import { decodeJpeg } from './libjpeg-turbo.ts';
import type { Rejection } from './rejects.ts';
import { dividedSize, MAX_PIXELS, type Size, shrinkOnLoad } from './resize.ts';
import { sniff } from './sniff.ts';

export interface Decoded {
  readonly pixels: RgbRows;
  readonly decoder: 'jpeg-kernel' | 'libjpeg-turbo' | 'sharp';
  /** Of the source; the pixels may be fewer, by shrink-on-load. */
  readonly size: Size;
  /** EXIF, 1 … 8. The pixels are as they lie. */
  readonly orientation: number;
}

export interface DecodeRequest {
  /** Largest short side that is wanted. */
  readonly shortSide: number;
  readonly timeoutMs: number;
}

/** `pixels` are there until the next call. */
export async function decode(file: Buffer, request: DecodeRequest): Promise<Decoded | Rejection> {
  if (file.length === 0) return { code: 'empty-file', reason: 'has no bytes' };
  const { kind, what } = sniff(file);
  if (kind === 'other') return { code: 'not-an-image', reason: `is no image: its bytes look like ${what}` };
  if (kind === 'unsupported') return { code: 'unsupported', reason: `is ${what}, which is not decoded here` };
  const header = what === 'JPEG' ? readJpegHeader(file) : null;
  const refusal = header ? refuseJpeg(header) : what === 'GIF' ? refuseGif(file) : null;
  if (refusal) return refusal;
  if (!header) return decodeBySharp({ file, what }, request);
  const shrink = shrinkOnLoad(header, request.shortSide);
  const isPlain = isOrdinary(header) && shrink === 1;
  const decoded = { size: header, orientation: header.orientation };
  // It takes whole scans only. The others make up what is missing, so that scans are looked at before them.
  const accurate = isPlain ? decodeBaseline(file, header) : null;
  if (accurate) return { pixels: accurate, decoder: 'jpeg-kernel', ...decoded };
  const cut = refuseScans(header, file);
  if (cut) return cut;
  const pixels = isPlain ? decodeJpeg(file, header) : null;
  if (pixels) return { pixels: rowsOf(pixels), decoder: 'libjpeg-turbo', ...decoded };
  return decodeBySharp({ file, what, header, shrink }, request);
}

/** Without colour management the colours are right. */
function isOrdinary({ colour, profile }: JpegHeader): boolean {
  return (colour === 'grey' || colour === 'YCbCr') && !profile;
}

interface Source {
  readonly file: Buffer;
  /** The format, by its bytes. */
  readonly what: string;
  readonly header?: JpegHeader;
  readonly shrink?: number;
}

async function decodeBySharp(source: Source, { timeoutMs }: DecodeRequest): Promise<Decoded | Rejection> {
  const { file, what } = source;
  try {
    const decoded = await within(timeoutMs, bySharp(source, timeoutMs));
    return decoded === 'timeout'
      ? { code: 'timeout', reason: `is a ${what} that took longer than ${timeoutMs} ms to decode` }
      : decoded;
  } catch {
    // libvips' own words are left out: they may be about another thread's file.
    return endsEarly(file, what)
      ? { code: 'truncated', reason: `is a ${what} that ends before its image does (${file.length} bytes)` }
      : { code: 'damaged', reason: `is a ${what} that cannot be decoded` };
  }
}

/** Throws what sharp does of a file that it cannot decode. */
async function bySharp({ file, header, shrink = 1 }: Source, timeoutMs: number): Promise<Decoded | Rejection> {
  const sharp = await loadSharp();
  const { width, height, orientation = 1 } = header ?? (await sharp(file, { limitInputPixels: false }).metadata());
  const size = { width, height };
  const refusal = refuseSize(size);
  if (refusal) return refusal;
  // 'error' refuses what ends early or cannot be decoded, as Pillow does, and lets harmless warnings pass.
  const image = sharp(file, { failOn: 'error', limitInputPixels: MAX_PIXELS });
  if (shrink > 1) image.resize({ ...dividedSize(size, shrink), fit: 'fill' });
  const { data, info } = await image
    .toColourspace('srgb')
    .removeAlpha()
    .raw({ depth: 'uchar' })
    // A second later than `within`, which gives the answer: this frees the thread that nobody waits for any more.
    .timeout({ seconds: Math.min(3600, Math.ceil(timeoutMs / 1000) + 1) })
    .toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) return { code: 'unsupported', reason: `decodes to ${info.channels} channels, not 3` };
  return { pixels: rowsOf({ data, width: info.width, height: info.height }), decoder: 'sharp', size, orientation };
}
