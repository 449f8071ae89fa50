// The central square, as in 'resize the short side to 256, crop 224': its side is a share of the stored short side.

import type { CropBox } from './random-resized-crop.ts';

/** The central square of side round(cropRatio · short side), px. */
export function centreCrop(width: number, height: number, cropRatio: number): CropBox {
  const side = Math.max(1, Math.round(Math.min(width, height) * cropRatio));
  return { x: Math.floor((width - side) / 2), y: Math.floor((height - side) / 2), width: side, height: side };
}
