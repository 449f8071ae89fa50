// What the stored bytes depend on beside the sources, as the manifest's fingerprint has it.

import { type Manifest, RGB_VERSION } from '#shards';
import type { PixelSettings } from './image.ts';
import { REDUCE_GAP } from './resize.ts';

/** Of the resize's arithmetic: raised whenever its pixels change. */
const KERNEL_VERSION = '1';

export async function pixelFingerprint(pixels: PixelSettings): Promise<Manifest['fingerprint']> {
  const [{ default: sharp }, { JPEG_TURBO_VERSION }] = await Promise.all([
    import('sharp'),
    import('./libjpeg-turbo.ts'),
  ]);
  return {
    versions: {
      kernel: KERNEL_VERSION,
      'jpeg-kernel': RGB_VERSION,
      'jpeg-turbo': JPEG_TURBO_VERSION,
      sharp: sharp.versions.sharp ?? 'unknown',
      libvips: sharp.versions.vips,
    },
    arch: process.arch,
    resize: {
      ...pixels,
      reduceGap: REDUCE_GAP,
      colour: 'sRGB, 8 bit, 3 channels; an embedded profile is applied',
      alpha: 'dropped',
      longSide: 'floor(shortSide * long / short)',
      val: 'central square',
      jpeg: 'baseline, standard Huffman tables',
    },
  };
}
