// What a contender stored, by short side: the proof that all of them did the same.

export interface BucketWork {
  images: number;
  pixels: number;
  /** Of the JPEGs, without their container. */
  bytes: number;
}

/** By short side. */
export type Work = Record<string, BucketWork>;

export function addWork(sum: Work, more: Work): void {
  for (const [shortSide, { images, pixels, bytes }] of Object.entries(more)) {
    const bucket = sum[shortSide] ?? { images: 0, pixels: 0, bytes: 0 };
    sum[shortSide] = bucket;
    bucket.images += images;
    bucket.pixels += pixels;
    bucket.bytes += bytes;
  }
}

/** All buckets together. */
export function totalWork(work: Work): BucketWork {
  const sum: Work = {};
  for (const bucket of Object.values(work)) addWork(sum, { all: bucket });
  return sum['all'] ?? { images: 0, pixels: 0, bytes: 0 };
}
