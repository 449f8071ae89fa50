// Buckets: at which size the samples are stored, for each resolution that trains on them.

import { Fault } from './errors.ts';

export interface Bucket {
  /** Side of the square that training crops from it, pixels. */
  readonly resolution: number;
  /** Short side of the stored images, pixels; at least `resolution`. */
  readonly shortSide: number;
}

/** Stored short side = resolution + 32 unless said otherwise: room for crops (160, 256, 320 for 128, 224, 288). */
export const CROP_MARGIN = 32;
export const DEFAULT_BUCKETS = '128,224,288';

/** JPEG's own limit of a side is 65535; nobody trains beyond this. */
const LARGEST_SIDE = 4096;

/**
 * Parses `R` or `R:SHORT`, comma-separated, into buckets by ascending resolution.
 * @throws Fault `bad-buckets` (wrong usage)
 */
export function parseBuckets(text: string): Bucket[] {
  const buckets = text.split(',').map((part) => {
    const match = /^(\d{1,4})(?::(\d{1,4}))?$/.exec(part.trim());
    if (!match) throw badBuckets(`'${part}'`);
    const resolution = Number(match[1]);
    const shortSide = match[2] === undefined ? resolution + CROP_MARGIN : Number(match[2]);
    if (resolution < 8 || shortSide < resolution || shortSide > LARGEST_SIDE) throw badBuckets(`'${part}'`);
    return { resolution, shortSide };
  });
  buckets.sort((a, b) => a.resolution - b.resolution);
  const twice = buckets.find(({ resolution }, i) => buckets[i - 1]?.resolution === resolution);
  if (twice) throw badBuckets(`resolution ${twice.resolution} twice`);
  return buckets;
}

function badBuckets(received: string): Fault {
  return new Fault({
    code: 'bad-buckets',
    received,
    expected: `resolutions of 8 to ${LARGEST_SIDE} as R or R:SHORT with SHORT at least R, each once`,
    remedy: `for example --buckets ${DEFAULT_BUCKETS} or --buckets 64:80,128`,
    exit: 2,
  });
}
