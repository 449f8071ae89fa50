// Crop, antialiased bilinear resize, flip and MixUp in plain TypeScript and doubles: the readable reference of the kernel.
// A triangle filter whose support grows with the scale, as Pillow's BILINEAR; horizontal pass first, then vertical. And the
// same of a JPEG's planes, upsampled as libjpeg does and coloured last.

import type { PlaneDecoder, Planes } from '../../../shards/jpeg/planes.ts';
import { LAMBDA_ONE } from '../../../stream/augment/mixup.ts';
import type { CropBox } from '../../../stream/augment/random-resized-crop.ts';

/** For each output index: the first source index and the normalised weights of its neighbours. */
interface Taps {
  readonly first: Int32Array;
  readonly weights: Float64Array;
  /** Weights an output index. */
  readonly width: number;
}

/** Taps that map `length` source pixels to `size` output pixels. */
function triangleTaps(length: number, size: number): Taps {
  const scale = length / size;
  const support = Math.max(1, scale);
  const width = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(size);
  const weights = new Float64Array(size * width);
  for (let i = 0; i < size; i++) {
    const centre = (i + 0.5) * scale;
    const from = Math.max(0, Math.floor(centre - support + 0.5));
    const to = Math.min(length, Math.floor(centre + support + 0.5));
    first[i] = from;
    let sum = 0;
    for (let j = from; j < to; j++) {
      const distance = Math.abs(j + 0.5 - centre) / support;
      const weight = distance < 1 ? 1 - distance : 0;
      weights[i * width + j - from] = weight;
      sum += weight;
    }
    for (let k = 0; k < width; k++) weights[i * width + k] = (weights[i * width + k] as number) / sum;
  }
  return { first, weights, width };
}

export interface SourceImage {
  /** U8 [height, width, 3]. */
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Writes the crop of `source`, resized to U8 [size, size, 3], at the start of `out`; `flip` mirrors it. */
export function cropAndResize(source: SourceImage, crop: CropBox, size: number, flip: boolean, out: Uint8Array): void {
  const across = triangleTaps(crop.width, size);
  const down = triangleTaps(crop.height, size);
  const rows = new Float64Array(crop.height * size * 3);
  for (let y = 0; y < crop.height; y++) {
    const row = ((crop.y + y) * source.width + crop.x) * 3;
    for (let x = 0; x < size; x++) {
      const from = across.first[x] as number;
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let k = 0; k < across.width; k++) {
        const weight = across.weights[x * across.width + k] as number;
        if (weight === 0) continue;
        const at = row + (from + k) * 3;
        red += weight * (source.pixels[at] as number);
        green += weight * (source.pixels[at + 1] as number);
        blue += weight * (source.pixels[at + 2] as number);
      }
      const to = (y * size + (flip ? size - 1 - x : x)) * 3;
      rows[to] = red;
      rows[to + 1] = green;
      rows[to + 2] = blue;
    }
  }
  const stride = size * 3;
  for (let y = 0; y < size; y++) {
    const from = down.first[y] as number;
    for (let i = 0; i < stride; i++) {
      let sum = 0;
      for (let k = 0; k < down.width; k++) {
        const weight = down.weights[y * down.width + k] as number;
        if (weight !== 0) sum += weight * (rows[(from + k) * stride + i] as number);
      }
      out[y * stride + i] = Math.min(255, Math.floor(sum + 0.5));
    }
  }
}

/** out = λ·image + (1−λ)·partner for all images of a chunk; U8 [n, …] of `stride` bytes each, `out` apart from `images`. */
export function blend(images: Uint8Array, out: Uint8Array, stride: number, shift: number, lambda: number): void {
  const n = images.length / stride;
  const rest = LAMBDA_ONE - lambda;
  for (let i = 0; i < n; i++) {
    const own = i * stride;
    const other = ((i + shift) % n) * stride;
    for (let j = 0; j < stride; j++)
      out[own + j] =
        ((images[own + j] as number) * lambda + (images[other + j] as number) * rest + LAMBDA_ONE / 2) >> 14;
  }
}

/** The samples around a pixel of a plane that may have half as many, by libjpeg's "fancy" upsampling. */
function upsampled(pixel: number, pixelsASample: number, samples: number): readonly (readonly [number, number])[] {
  if (pixelsASample === 1) return [[pixel, 1]];
  const near = Math.floor(pixel / 2);
  const next = pixel % 2 === 0 ? near - 1 : near + 1;
  return [
    [near, 0.75],
    [Math.min(samples - 1, Math.max(0, next)), 0.25],
  ];
}

/** The box of a JPEG's planes, of the whole image and in the decoder's memory, as U8 [size, size, 3]: JFIF's colours. */
export function resizePlanes(
  decoder: PlaneDecoder,
  { planes }: Planes,
  box: CropBox,
  { size, flip }: { readonly size: number; readonly flip: boolean },
): Uint8Array {
  const across = triangleTaps(box.width, size);
  const down = triangleTaps(box.height, size);
  const [y, cb, cr] = planes.map((plane) => {
    const samples = decoder.bytes(plane);
    const pixel = (row: number, column: number): number => {
      let value = 0;
      for (const [i, share] of upsampled(row, plane.pixelsDown, plane.height))
        for (const [j, part] of upsampled(column, plane.pixelsAcross, plane.width))
          value += share * part * (samples[i * plane.stride + j] as number);
      return value;
    };
    return Float64Array.from({ length: size * size }, (_, at) => {
      const row = Math.floor(at / size);
      const column = flip ? size - 1 - (at % size) : at % size;
      let sum = 0;
      for (let j = 0; j < down.width; j++)
        for (let k = 0; k < across.width; k++) {
          const weight =
            (down.weights[row * down.width + j] as number) * (across.weights[column * across.width + k] as number);
          if (weight === 0) continue;
          sum += weight * pixel(box.y + (down.first[row] as number) + j, box.x + (across.first[column] as number) + k);
        }
      return sum;
    });
  });
  const level = (value: number) => Math.min(255, Math.max(0, Math.floor(value + 0.5)));
  return Uint8Array.from({ length: size * size * 3 }, (_, i) => {
    const at = Math.floor(i / 3);
    const bright = y?.[at] as number;
    const blueness = (cb?.[at] ?? 128) - 128;
    const redness = (cr?.[at] ?? 128) - 128;
    if (i % 3 === 0) return level(bright + 1.402 * redness);
    if (i % 3 === 2) return level(bright + 1.772 * blueness);
    return level(bright - 0.344136 * blueness - 0.714136 * redness);
  });
}
