// The orientation in EXIF: one number of a small TIFF, and what it does to sizes and pixels.

import type { Pixels, Rectangle } from './kernel/resizer.ts';

const ORIENTATION = 0x0112;
const SHORT = 3;

/**
 * 1 … 8 from a TIFF block; 1 where the block is broken or says something else. Only the first folder is looked at, so
 * a cycle of folders is never followed.
 */
export function exifOrientation(tiff: Buffer): number {
  const order = tiff.toString('latin1', 0, 4);
  const little = order === 'II*\0';
  if (!little && order !== 'MM\0*') return 1;
  const short = (at: number): number => {
    if (at + 2 > tiff.length) return 0;
    return little ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at);
  };
  if (tiff.length < 8) return 1;
  const folder = little ? tiff.readUInt32LE(4) : tiff.readUInt32BE(4);
  const entries = short(folder);
  for (let i = 0; i < entries; i++) {
    const at = folder + 2 + 12 * i;
    if (at + 12 > tiff.length) return 1;
    if (short(at) !== ORIENTATION) continue;
    const value = short(at + 2) === SHORT ? short(at + 8) : 1;
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/** Orientations 5 … 8 lie on their side. */
export function liesOnSide(orientation: number): boolean {
  return orientation >= 5;
}

/** What the stored pixel at (x, y) of an upright image of this size is in the image as it lies. */
function lying(orientation: number, width: number, height: number): (x: number, y: number) => [x: number, y: number] {
  const right = width - 1;
  const bottom = height - 1;
  switch (orientation) {
    case 2:
      return (x, y) => [right - x, y];
    case 3:
      return (x, y) => [right - x, bottom - y];
    case 4:
      return (x, y) => [x, bottom - y];
    case 5:
      return (x, y) => [y, x];
    case 6:
      return (x, y) => [y, right - x];
    case 7:
      return (x, y) => [bottom - y, right - x];
    case 8:
      return (x, y) => [bottom - y, x];
    default:
      return (x, y) => [x, y];
  }
}

/** Where a rectangle of the upright image (`size`) lies in the image as it lies. */
export function lyingRectangle(
  orientation: number,
  size: { width: number; height: number },
  { left, top, width, height }: Rectangle,
): Rectangle {
  const at = lying(orientation, size.width, size.height);
  const [x0, y0] = at(left, top);
  const [x1, y1] = at(left + width - 1, top + height - 1);
  return {
    left: Math.min(x0, x1),
    top: Math.min(y0, y1),
    width: Math.abs(x1 - x0) + 1,
    height: Math.abs(y1 - y0) + 1,
  };
}

/** The image turned upright, U8 [height, width, 3]. */
export function upright(orientation: number, image: Pixels): Pixels {
  const [width, height] = liesOnSide(orientation) ? [image.height, image.width] : [image.width, image.height];
  const at = lying(orientation, width, height);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [lx, ly] = at(x, y);
      const from = (ly * image.width + lx) * 3;
      const to = (y * width + x) * 3;
      for (let c = 0; c < 3; c++) data[to + c] = image.data[from + c] as number;
    }
  return { data, width, height };
}
