// What the commands print of a plan, a dataset and a part.

import { type Manifest, SPLITS } from '#shards';
import type { PackedPart } from './part.ts';
import type { PackPlan } from './run.ts';

export interface Summary {
  readonly samples: number;
  readonly shards: number;
  /** Of the tar files. */
  readonly bytes: number;
  readonly rejects: number;
  readonly viaTurbo: number;
  readonly viaSharp: number;
  readonly counts: Manifest['dataset']['counts'];
  readonly datasetSha256: string;
}

export function summaryOf({ dataset, splits, rejects }: Manifest): Summary {
  const buckets = SPLITS.flatMap((split) => Object.values(splits[split].buckets));
  return {
    samples: dataset.counts.train + dataset.counts.val,
    shards: buckets.reduce((sum, { shards }) => sum + shards.length, 0),
    bytes: buckets.reduce((sum, { bytes }) => sum + bytes, 0),
    rejects: rejects.count,
    viaTurbo: splits.train.viaTurbo + splits.val.viaTurbo,
    viaSharp: splits.train.viaSharp + splits.val.viaSharp,
    counts: dataset.counts,
    datasetSha256: dataset.sha256,
  };
}

interface Placed {
  readonly out: string;
  readonly seconds: number;
}

export function describeDataset(summary: Summary & Placed): string {
  const { out, seconds, shards, bytes, rejects, viaTurbo, viaSharp, counts, datasetSha256 } = summary;
  return (
    `packed ${counts.train} train and ${counts.val} val samples in ${shards} shards (${size(bytes)}) into ${out} ` +
    `in ${seconds} s; ${rejects} rejects; ${viaTurbo} decoded by libjpeg-turbo, ${viaSharp} by sharp; dataset ${datasetSha256}`
  );
}

export interface PartSummary {
  readonly part: string;
  readonly samples: number;
  readonly shards: number;
  readonly bytes: number;
  readonly rejects: number;
}

export function summaryOfPart({ job, groups }: PackedPart): PartSummary {
  const shards = groups.flatMap(({ buckets }) => buckets);
  return {
    part: `${job.part?.index}/${job.part?.of}`,
    samples: groups.reduce((sum, { samples }) => sum + samples, 0),
    shards: shards.length,
    bytes: shards.reduce((sum, { shard }) => sum + shard.bytes, 0),
    rejects: groups.reduce((sum, each) => sum + each.rejects.length, 0),
  };
}

export function describePart({ part, out, seconds, samples, shards, bytes, rejects }: PartSummary & Placed): string {
  return (
    `packed part ${part}: ${samples} samples in ${shards} shards (${size(bytes)}) into ${out} in ${seconds} s; ` +
    `${rejects} rejects; 'preprocess merge' joins the parts`
  );
}

export function describePlan({ layout, classes, sources, shards, left, estimate }: PackPlan): string {
  const finished = left < shards ? `, ${shards - left} of them finished before` : '';
  const warning = estimate.bytes > estimate.free ? ', which is not enough' : '';
  return (
    `${layout}: ${classes} classes, ${sources.train} train and ${sources.val} val sources; ${shards} shards a bucket` +
    `${finished}; needs about ${size(estimate.bytes)}, ${size(estimate.free)} are free${warning}`
  );
}

/** A line for each split and bucket that holds images smaller than it wants. */
export function smallSources({ splits }: Manifest): string[] {
  return SPLITS.flatMap((split) =>
    Object.values(splits[split].buckets)
      .filter(({ notEnlarged }) => notEnlarged > 0)
      .map(
        ({ resolution, shortSide, notEnlarged }) =>
          `${notEnlarged} ${split} images of bucket ${resolution} are smaller than ${shortSide} and kept their size`,
      ),
  );
}

function size(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
