// The pool's task of decode-alone: every stride-th image, by libjpeg-turbo or by sharp.

import sharp from 'sharp';
import { Draws, jpegTurbo } from '#shards';
import { randomResizedCrop } from '#stream';
import type { Augmentation } from './loader-child.ts';

const turbo = jpegTurbo();

sharp.concurrency(1);
sharp.cache(false);

export interface DecodeTask extends Augmentation {
  /** `turbo`, `sharp`: whole images to RGB. `sharp-loader`: also RandomResizedCrop, bilinear resize and flip. */
  readonly task: 'turbo' | 'sharp' | 'sharp-loader';
  readonly bytes: Uint8Array;
  readonly places: readonly { offset: number; bytes: number; width: number; height: number }[];
  /** Image first, first + stride, … below `images`; the places begin anew after the last. */
  readonly first: number;
  readonly stride: number;
  readonly images: number;
  readonly output: number;
  readonly check: boolean;
}

export interface DecodeSpan {
  readonly images: number;
  /** Milliseconds since the epoch: the clocks of worker threads begin apart. */
  readonly begun: number;
  readonly ended: number;
  /** Of the output bytes, with `check`. */
  readonly sum: number;
  readonly size: number;
}

const now = (): number => performance.timeOrigin + performance.now();

export default async function decodeAlone(options: DecodeTask): Promise<DecodeSpan> {
  const { task, bytes, places, first, stride, output, check } = options;
  const largest = Math.max(...places.map(({ width, height }) => width * height * 3));
  const out = Buffer.allocUnsafeSlow(largest);
  const crop = randomResizedCrop(options);
  let images = 0;
  let sum = 0;
  let size = 0;
  const begun = now();
  for (let i = first; i < options.images; i += stride, images++) {
    const place = places[i % places.length] as (typeof places)[number];
    const jpeg = Buffer.from(bytes.buffer, bytes.byteOffset + place.offset, place.bytes);
    const decode = async (): Promise<Uint8Array> => {
      if (task === 'turbo') return turbo.decompressSync(jpeg, out, { format: turbo.FORMAT_RGB }).data;
      if (task === 'sharp') return sharp(jpeg).raw().toBuffer();
      const draws = new Draws({ seed: 0, purpose: 'augment', index: i });
      const { x, y, width, height } = crop(place.width, place.height, draws);
      return sharp(jpeg)
        .extract({ left: x, top: y, width, height })
        .resize(output, output, { fit: 'fill', kernel: 'linear' })
        .flop(draws.uniform() < options.flip)
        .raw()
        .toBuffer();
    };
    const pixels = await decode();
    if (!check) continue;
    const used = task === 'sharp-loader' ? output * output * 3 : place.width * place.height * 3;
    for (let at = 0; at < used; at++) sum += pixels[at] ?? 0;
    size += used;
  }
  return { images, begun, ended: now(), sum, size };
}
