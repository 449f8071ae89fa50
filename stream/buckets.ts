// The packed samples that a plan needs, of a folder of shards.

import { Fault, type Manifest, openSplit } from '#shards';
import { type Plan, resolutionsOf } from './plan.ts';
import type { BucketIndexes } from './tasks.ts';

/** The plan's buckets by resolution. Fault `bucket-missing` */
export async function openBuckets(shards: string, manifest: Manifest, plan: Plan): Promise<Map<number, BucketIndexes>> {
  const wanted = resolutionsOf(plan);
  const packed = Object.keys(manifest.splits.train.buckets);
  const missing = wanted.filter((resolution) => !packed.includes(String(resolution)));
  if (missing.length > 0)
    throw new Fault({
      code: 'bucket-missing',
      received: `${shards} with buckets ${packed.join(', ')}`,
      expected: `bucket ${missing.join(', ')}, which the recipe's phases use`,
      remedy: `pack with 'preprocess shard --buckets ${wanted.join(',')}'`,
    });
  const buckets = new Map<number, BucketIndexes>();
  for (const resolution of wanted)
    buckets.set(resolution, {
      train: await openSplit(shards, manifest, 'train', resolution),
      val: await openSplit(shards, manifest, 'val', resolution),
    });
  return buckets;
}
