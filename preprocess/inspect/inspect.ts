// What a packed dataset holds, in figures: shards, samples and bytes of each bucket, samples of each class.

import { type Manifest, openSplit, SPLITS, type Split, type SplitIndex } from '#shards';

/** One bucket of one split. */
export interface BucketRow {
  readonly split: Split;
  readonly resolution: number;
  readonly shortSide: number;
  readonly shards: number;
  readonly samples: number;
  /** Of the tar files. */
  readonly bytes: number;
  readonly smallestShard: number;
  readonly largestShard: number;
  /** Samples that kept a size below the bucket's. */
  readonly notEnlarged: number;
  readonly viaTurbo: number;
  readonly viaSharp: number;
}

export interface Inspection {
  readonly datasetSha256: string;
  readonly seed: number;
  readonly shardSamples: number;
  readonly fingerprint: Manifest['fingerprint'];
  readonly buckets: readonly BucketRow[];
  readonly classes: Manifest['dataset']['classes'];
  /** Samples by label. */
  readonly samplesOfClass: Readonly<Record<Split, readonly number[]>>;
  readonly rejects: Omit<Manifest['rejects'], 'sha256'>;
}

/**
 * Reads the manifest and, for the classes, the indexes of one bucket: every bucket holds the same samples.
 * @throws Fault of `openSplit`
 */
export async function inspectDataset(dir: string, manifest: Manifest): Promise<Inspection> {
  const { dataset, seed, shardSamples, fingerprint, rejects } = manifest;
  const [resolution = 0] = resolutionsOf(manifest);
  const counted = async (split: Split): Promise<number[]> =>
    countLabels(await openSplit(dir, manifest, split, resolution), dataset.classes.length);
  return {
    datasetSha256: dataset.sha256,
    seed,
    shardSamples,
    fingerprint,
    buckets: SPLITS.flatMap((split) => rowsOf(manifest, split)),
    classes: dataset.classes,
    samplesOfClass: { train: await counted('train'), val: await counted('val') },
    rejects: { count: rejects.count, byCode: rejects.byCode },
  };
}

/** Of the buckets, ascending. */
export function resolutionsOf({ splits }: Manifest): number[] {
  return Object.values(splits.train.buckets)
    .map(({ resolution }) => resolution)
    .sort((a, b) => a - b);
}

function rowsOf({ splits }: Manifest, split: Split): BucketRow[] {
  const { samples, viaTurbo, viaSharp, buckets } = splits[split];
  return Object.values(buckets)
    .map(({ resolution, shortSide, shards, bytes, notEnlarged }) => {
      const sizes = shards.map((shard) => shard.bytes);
      const smallestShard = sizes.reduce((least, size) => Math.min(least, size), sizes[0] ?? 0);
      const largestShard = sizes.reduce((most, size) => Math.max(most, size), 0);
      return {
        ...{ split, resolution, shortSide, shards: shards.length, samples, bytes },
        ...{ smallestShard, largestShard, notEnlarged, viaTurbo, viaSharp },
      };
    })
    .sort((a, b) => a.resolution - b.resolution);
}

function countLabels(index: SplitIndex, classes: number): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (let sample = 0; sample < index.samples; sample++) {
    const { label } = index.locate(sample);
    counts[label] = (counts[label] ?? 0) + 1;
  }
  return counts;
}
