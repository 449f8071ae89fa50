// What a manifest may hold, checked by zod; loaded only where one is read or written, because zod takes a worker 60 ms.

import { z } from 'zod';

const count = z.int().min(0);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const shardEntry = z.strictObject({
  /** Path from the manifest's folder, with '/'. */
  file: z.string().regex(/^\d+\/(train|val)-\d{6}\.tar$/),
  samples: count,
  bytes: count,
  sha256,
  indexSha256: sha256,
  idxSha256: sha256,
});

const bucketEntry = z.strictObject({
  resolution: count,
  shortSide: count,
  /** Samples whose source was smaller than `shortSide`: stored at their own size. */
  notEnlarged: count,
  /** Of all tar files of this bucket. */
  bytes: count,
  shards: z.array(shardEntry),
});

const splitEntry = z.strictObject({
  /** Sources, the rejected ones included. */
  positions: count,
  samples: count,
  /** Of the list of sources: a line `path TAB label` each, sorted, before the permutation. */
  sourcesSha256: sha256,
  /** Samples that our JPEG decoder could not take, decoded by libjpeg-turbo with its fast DCT: a level darker on average. */
  viaTurbo: count,
  /** Samples that neither could take, decoded by sharp: on another CPU architecture their pixels may differ. */
  viaSharp: count,
  /** By resolution. */
  buckets: z.record(z.string().regex(/^\d+$/), bucketEntry),
});

export const manifestSchema = z.strictObject({
  format: z.literal('medium-recipe/shards@3'),
  dataset: z.strictObject({
    sha256,
    classes: z.array(z.strictObject({ index: count, wnid: z.string(), name: z.string().optional() })),
    counts: z.strictObject({ train: count, val: count }),
  }),
  seed: count,
  /** Source positions a shard. */
  shardSamples: count.min(1),
  fingerprint: z.strictObject({
    /** Versions, by name, of what decodes, resizes and encodes; and the CPU architecture. */
    versions: z.record(z.string(), z.string()),
    arch: z.string(),
    /** How pixels were made; see preprocess/README.md. */
    resize: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  }),
  splits: z.strictObject({ train: splitEntry, val: splitEntry }),
  /** `sha256` is of `rejects.jsonl`. */
  rejects: z.strictObject({ count, byCode: z.record(z.string(), count), sha256 }),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type ClassEntry = Manifest['dataset']['classes'][number];
export type SplitEntry = z.infer<typeof splitEntry>;
export type BucketEntry = z.infer<typeof bucketEntry>;
export type ShardEntry = z.infer<typeof shardEntry>;
