// How a source becomes stored images: sizes, crop and the settings the fingerprint records. No pixels here.

import type { Bucket, Split } from '#shards';
import type { Rejection } from './rejects.ts';

/** Every choice that the stored bytes depend on, as the manifest's fingerprint has it. Reasons: preprocess/README.md. */
export const RESIZE = {
  decode: 'full size, once for all buckets',
  kernel: 'lanczos3',
  colour: 'sRGB, 8 bit, 3 channels; an embedded profile is applied',
  alpha: 'dropped',
  orientation: 'EXIF ignored',
  longSide: 'floor(shortSide * long / short)',
  val: 'central square',
  quality: 90,
  chroma: '4:2:0',
  progressive: false,
  huffman: 'standard tables',
} as const;

/** Decoded, 300 MB a worker. ImageNet's largest has about 60 megapixels. */
export const MAX_PIXELS = 100_000_000;
/** A JPEG's side has 16 bits. */
export const MAX_SIDE = 65_535;
/** A worker holds the whole file. */
export const MAX_FILE_BYTES = 256 * 1024 * 1024;

export interface ResizeTask {
  /** Path that can be opened. */
  readonly file: string;
  readonly split: Split;
  readonly buckets: readonly Bucket[];
}

/** One stored image: `jpg` is a view into a buffer that all buckets of the source share. */
export interface StoredImage {
  readonly jpg: Uint8Array;
  readonly sha256: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly notEnlarged: boolean;
}

/** A worker's answer: one image a bucket, or why there is none. Failures are values: a class would not survive the way. */
export type ResizeResult =
  | { readonly ok: true; readonly images: readonly StoredImage[] }
  | ({ readonly ok: false } & Rejection);

export interface StoredSize {
  readonly width: number;
  readonly height: number;
  /** The central square for val; null where the whole image is stored. */
  readonly crop: {
    readonly left: number;
    readonly top: number;
    readonly width: number;
    readonly height: number;
  } | null;
  /** The source is smaller than the bucket wants and stays as it is. */
  readonly notEnlarged: boolean;
}

/** Size after the resize (as torchvision's `Resize(shortSide)`, but never enlarged) and the crop that follows it. */
export function storedSize(source: { width: number; height: number }, shortSide: number, split: Split): StoredSize {
  const sourceShort = Math.min(source.width, source.height);
  const short = Math.min(shortSide, sourceShort);
  const scaled = (side: number): number => Math.floor((short * side) / sourceShort);
  const width = scaled(source.width);
  const height = scaled(source.height);
  const crop = {
    left: Math.floor((width - short) / 2),
    top: Math.floor((height - short) / 2),
    width: short,
    height: short,
  };
  return { width, height, crop: split === 'val' ? crop : null, notEnlarged: sourceShort < shortSide };
}
