// The pool's task: reads one source, decodes it once, and makes the JPEG of every bucket.

import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import sharp from 'sharp';
import { endsEarly } from './ending.ts';
import type { Rejection } from './rejects.ts';
import {
  MAX_FILE_BYTES,
  MAX_PIXELS,
  MAX_SIDE,
  RESIZE,
  type ResizeResult,
  type ResizeTask,
  type StoredImage,
  storedSize,
} from './resize.ts';
import { sniff } from './sniff.ts';

// One image a worker at a time; libvips' own threads would multiply with the workers, and no image comes twice.
sharp.concurrency(1);
sharp.cache(false);

interface Pixels {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
}

/** What `sharp` said of a damaged file; anything else thrown here is a defect. */
class Refusal extends Error {
  readonly rejection: Rejection;
  constructor(code: Rejection['code'], reason: string) {
    super(reason);
    this.rejection = { code, reason };
  }
}

export default async function resizeFile(task: ResizeTask): Promise<ResizeResult> {
  try {
    const pixels = await decode(read(task.file));
    const encoded: StoredImage[] = [];
    for (const { shortSide } of task.buckets) encoded.push(await store(pixels, shortSide, task.split));
    return moved(encoded);
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, ...error.rejection };
    throw error;
  }
}

interface Source {
  readonly file: Buffer;
  /** The format, by its bytes. */
  readonly what: string;
}

function read(path: string): Source {
  let file: Buffer;
  try {
    const { size } = statSync(path);
    if (size > MAX_FILE_BYTES) throw new Refusal('too-large', `has ${size} bytes, more than ${MAX_FILE_BYTES}`);
    // Synchronous: libuv's few threads are for decoding.
    file = readFileSync(path);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal('unreadable', `cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  if (file.length === 0) throw new Refusal('empty-file', 'has no bytes');
  const { kind, what } = sniff(file);
  if (kind === 'other') throw new Refusal('not-an-image', `is no image: its bytes look like ${what}`);
  if (kind === 'unsupported') throw new Refusal('unsupported', `is ${what}, which is not decoded here`);
  return { file, what };
}

async function decode({ file, what }: Source): Promise<Pixels> {
  try {
    const { width, height } = await sharp(file, { limitInputPixels: false }).metadata();
    if (width * height > MAX_PIXELS || Math.max(width, height) > MAX_SIDE)
      throw new Refusal(
        'too-large',
        `has ${width} × ${height} pixels, more than ${MAX_PIXELS} or a side above ${MAX_SIDE}`,
      );
    // 'error' refuses what ends early or cannot be decoded, as Pillow does, and lets harmless warnings pass.
    const { data, info } = await sharp(file, { failOn: 'error', limitInputPixels: MAX_PIXELS })
      .toColourspace('srgb')
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Refusal('unsupported', `decodes to ${info.channels} channels, not 3`);
    return { data, width: info.width, height: info.height };
  } catch (error) {
    if (error instanceof Refusal) throw error;
    // libvips' own words are left out: they may be about another thread's file.
    throw endsEarly(file, what)
      ? new Refusal('truncated', `is a ${what} that ends before its image does (${file.length} bytes)`)
      : new Refusal('damaged', `is a ${what} that cannot be decoded`);
  }
}

async function store(pixels: Pixels, shortSide: number, split: ResizeTask['split']): Promise<StoredImage> {
  const { width, height, crop, notEnlarged } = storedSize(pixels, shortSide, split);
  const resized = sharp(pixels.data, {
    raw: { width: pixels.width, height: pixels.height, channels: 3 },
    limitInputPixels: MAX_PIXELS,
  }).resize({ width, height, fit: 'fill', kernel: RESIZE.kernel });
  const { data, info } = await (crop ? resized.extract(crop) : resized)
    .jpeg({
      quality: RESIZE.quality,
      chromaSubsampling: RESIZE.chroma,
      progressive: RESIZE.progressive,
      mozjpeg: false,
      optimiseCoding: false,
    })
    .toBuffer({ resolveWithObject: true });
  const sha256 = createHash('sha256').update(data).digest();
  return { jpg: data, sha256, width: info.width, height: info.height, notEnlarged };
}

/** Lays all bytes into one buffer that is moved, not copied, to the packer. (sharp's own buffers cannot be.) */
function moved(images: readonly StoredImage[]): ResizeResult {
  const buffer = new ArrayBuffer(images.reduce((sum, { jpg, sha256 }) => sum + jpg.length + sha256.length, 0));
  let end = 0;
  const place = (bytes: Uint8Array): Uint8Array => {
    const view = new Uint8Array(buffer, end, bytes.length);
    view.set(bytes);
    end += bytes.length;
    return view;
  };
  const result: ResizeResult = {
    ok: true,
    images: images.map((image) => ({ ...image, jpg: place(image.jpg), sha256: place(image.sha256) })),
  };
  // `move` declares what it was given; the packer receives the value inside.
  return move({ [transferableSymbol]: buffer, [valueSymbol]: result }) as unknown as ResizeResult;
}
