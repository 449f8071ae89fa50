// How large a source becomes, and how large one may be. No pixels here.

import type { Split } from '#shards';
import type { Rectangle } from './kernel/resizer.ts';

/** Decoded, 300 MB a worker. ImageNet's largest has about 60 megapixels. */
export const MAX_PIXELS = 100_000_000;
/** libjpeg's limit, which what is stored must keep. */
export const MAX_SIDE = 65_500;
/** A worker holds the whole file. */
export const MAX_FILE_BYTES = 256 * 1024 * 1024;
/** Long side by short side. Beyond it no crop is of anything, and with a short side of 656 the long one passes MAX_SIDE. */
export const MAX_ASPECT = 100;
/** Of a JPEG. Each goes over all coefficients, and need not hold bytes; encoders write about ten. libvips' limit, too. */
export const MAX_SCANS = 100;

/**
 * A source this many times larger than the largest stored size, or 2, 3 … times that, is first reduced by as much: by
 * means over whole areas, which costs a sixth of the resize. Losses: preprocess/README.md.
 */
export const REDUCE_GAP = 3;

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface StoredSize extends Size {
  /** The part that is stored: all of it, or for val the central square. */
  readonly crop: Rectangle;
  /** The source is smaller than the bucket wants and stays as it is. */
  readonly notEnlarged: boolean;
}

/** Size after the resize (as torchvision's `Resize(shortSide)`, but never enlarged) and the crop that follows it. */
export function storedSize(source: Size, shortSide: number, split: Split): StoredSize {
  const sourceShort = Math.min(source.width, source.height);
  const short = Math.min(shortSide, sourceShort);
  const scaled = (side: number): number => Math.floor((short * side) / sourceShort);
  const width = scaled(source.width);
  const height = scaled(source.height);
  const square = {
    left: Math.floor((width - short) / 2),
    top: Math.floor((height - short) / 2),
    width: short,
    height: short,
  };
  const crop = split === 'val' ? square : { left: 0, top: 0, width, height };
  return { width, height, crop, notEnlarged: sourceShort < shortSide };
}

/** By how much pixels are reduced before the resize to sizes whose largest short side this is; 1: not at all. */
export function reductionOf(pixels: Size, shortSide: number): number {
  return Math.max(1, Math.floor(Math.min(pixels.width, pixels.height) / (REDUCE_GAP * shortSide)));
}

/**
 * By how much a JPEG is made smaller while it is decoded; 1: not at all. From 5 on sharp lets libjpeg decode a quarter
 * of each side, from 9 on an eighth, and resizes what is left of it: that must stay little, and far from the stored
 * size. Below, decoding the whole without it is faster.
 */
export function shrinkOnLoad(source: Size, shortSide: number): 1 | 5 | 9 {
  const reduction = reductionOf(source, shortSide);
  return reduction >= 11 ? 9 : reduction >= 6 ? 5 : 1;
}

/** A size divided: what does not fill a whole pixel still makes one. */
export function dividedSize({ width, height }: Size, divisor: number): Size {
  return { width: Math.ceil(width / divisor), height: Math.ceil(height / divisor) };
}
