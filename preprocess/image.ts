// One source's bytes → one JPEG a bucket, or why there is none. The same bytes for the same file, request and versions.

import type { Bucket, KernelName, RgbRows, Split } from '#shards';
import { type Decoded, decode } from './decode.ts';
import { liesOnSide, lyingRectangle, upright } from './exif.ts';
import { Resizer, rowsOf, type Target } from './kernel/resizer.ts';
import { encodeJpeg, type JpegSettings } from './libjpeg-turbo.ts';
import type { RejectCode } from './rejects.ts';
import { dividedSize, reductionOf, type StoredSize, storedSize } from './resize.ts';

/** Every choice that stored bytes depend on; recorded in the manifest's fingerprint. Reasons: preprocess/README.md. */
export interface PixelSettings extends JpegSettings {
  /** Antialiased. */
  readonly kernel: KernelName;
  /** EXIF's. */
  readonly orientation: 'ignore' | 'apply';
}

export interface ImageRequest {
  readonly split: Split;
  readonly buckets: readonly Bucket[];
  readonly pixels: PixelSettings;
  readonly timeoutMs: number;
}

/** Baseline JPEG with its size, px. */
export interface StoredImage {
  readonly jpg: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** The source is smaller than the bucket wants and keeps its size. */
  readonly notEnlarged: boolean;
}

/** Images in the order of the buckets. Failures are values: a class would not survive the way between threads. */
export type ImageResult =
  | { readonly ok: true; readonly decoder: Decoded['decoder']; readonly images: readonly StoredImage[] }
  | { readonly ok: false; readonly code: RejectCode; readonly reason: string };

/** What a resizer may keep between two images; one that needed more is let go. */
const KEEP_BYTES = 64 * 1024 * 1024;
let resizer = new Resizer();

/**
 * Whatever the file holds, the answer is a value. One call at a time in a thread.
 *
 * `timeoutMs` bounds what sharp decodes. The other decoders run on this thread and cannot be interrupted: there the limits
 * of pixels, scans and file size bound the time (about 10 s at the very worst).
 */
export async function storeImage(file: Buffer, request: ImageRequest): Promise<ImageResult> {
  const { buckets, split, pixels: settings, timeoutMs } = request;
  const shortSide = Math.max(...buckets.map((bucket) => bucket.shortSide));
  const decoded = await decode(file, { shortSide, timeoutMs });
  if ('code' in decoded) return { ok: false, ...decoded };
  const orientation = settings.orientation === 'apply' ? decoded.orientation : 1;
  const { width, height } = decoded.size;
  const standing = liesOnSide(orientation) ? { width: height, height: width } : { width, height };
  const sizes = buckets.map((bucket) => storedSize(standing, bucket.shortSide, split));
  const images: StoredImage[] = [];
  resizer.resize(
    reduced(decoded.pixels, shortSide),
    sizes.map((size) => lyingTarget(orientation, size)),
    settings.kernel,
    (pixels) => {
      const image = orientation === 1 ? pixels : upright(orientation, pixels);
      const notEnlarged = (sizes[images.length] as StoredSize).notEnlarged;
      images.push({ jpg: encodeJpeg(image, settings), width: image.width, height: image.height, notEnlarged });
    },
  );
  if (resizer.memoryBytes > KEEP_BYTES) resizer = new Resizer();
  return { ok: true, decoder: decoded.decoder, images };
}

/** The pixels, after the reduction that very large sources take before the resize. */
function reduced(pixels: RgbRows, shortSide: number): RgbRows {
  const reduction = reductionOf(pixels, shortSide);
  if (reduction === 1) return pixels;
  const size = dividedSize(pixels, reduction);
  let result = pixels;
  resizer.resize(pixels, [{ ...size, crop: { left: 0, top: 0, ...size } }], 'area', (view) => {
    result = rowsOf({ ...view, data: new Uint8Array(view.data) });
  });
  return result;
}

/** The target of an upright size for an image as it lies. */
function lyingTarget(orientation: number, { width, height, crop }: StoredSize): Target {
  const size = liesOnSide(orientation) ? { width: height, height: width } : { width, height };
  return { ...size, crop: lyingRectangle(orientation, { width, height }, crop) };
}
