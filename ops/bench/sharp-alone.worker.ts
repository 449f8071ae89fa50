// The pool's task of sharp-alone: one decode, one resize and JPEG a bucket, as the packer's settings say.

import { join } from 'node:path';
import sharp from 'sharp';
import type { Work } from './work.ts';

sharp.concurrency(1);
sharp.cache(false);

export interface SharpTask {
  readonly dir: string;
  /** SPLIT/CLASS/NAME under `dir`. */
  readonly file: string;
  readonly shortSides: readonly number[];
  readonly kernel: keyof typeof KERNELS;
}

/** sharp's names. */
const KERNELS = { lanczos3: 'lanczos3', bicubic: 'cubic', bilinear: 'linear' } as const;

/** Of one image. */
export type SharpWork = Work;

export default async function resizeOnly({ dir, file, shortSides, kernel }: SharpTask): Promise<SharpWork> {
  const { data, info } = await sharp(join(dir, file))
    .toColourspace('srgb')
    .removeAlpha()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const work: Work = {};
  for (const shortSide of shortSides) {
    const sourceShort = Math.min(info.width, info.height);
    const short = Math.min(shortSide, sourceShort);
    const scaled = (side: number): number => Math.floor((short * side) / sourceShort);
    const [width, height] = [scaled(info.width), scaled(info.height)];
    const resized = sharp(data, { raw: { width: info.width, height: info.height, channels: 3 } }).resize({
      width,
      height,
      fit: 'fill',
      kernel: KERNELS[kernel],
    });
    const square = { left: (width - short) >> 1, top: (height - short) >> 1, width: short, height: short };
    const jpg = await (file.startsWith('val/') ? resized.extract(square) : resized)
      .jpeg({ quality: 90, chromaSubsampling: '4:2:0', optimiseCoding: false })
      .toBuffer({ resolveWithObject: true });
    work[shortSide] = { images: 1, pixels: jpg.info.width * jpg.info.height, bytes: jpg.data.length };
  }
  return work;
}
