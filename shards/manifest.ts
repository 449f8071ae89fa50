// The manifest: what a packed dataset is. One canonical JSON file over all shards.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { canonicalJson } from './canonical.ts';
import { Fault } from './errors.ts';

export const MANIFEST_FORMAT = 'medium-recipe/shards@1';
export const MANIFEST_FILE = 'manifest.json';

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
  /** By resolution. */
  buckets: z.record(z.string().regex(/^\d+$/), bucketEntry),
});

const manifestSchema = z.strictObject({
  format: z.literal(MANIFEST_FORMAT),
  dataset: z.strictObject({
    sha256,
    classes: z.array(z.strictObject({ index: count, wnid: z.string(), name: z.string().optional() })),
    counts: z.strictObject({ train: count, val: count }),
  }),
  seed: count,
  /** Source positions a shard. */
  shardSamples: count.min(1),
  fingerprint: z.strictObject({
    sharp: z.string(),
    libvips: z.string(),
    mozjpeg: z.string(),
    arch: z.string(),
    /** How pixels were made; see preprocess/README.md. */
    resize: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  }),
  splits: z.strictObject({ train: splitEntry, val: splitEntry }),
  rejects: z.strictObject({ count, byCode: z.record(z.string(), count) }),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type ClassEntry = Manifest['dataset']['classes'][number];
export type SplitEntry = z.infer<typeof splitEntry>;
export type BucketEntry = z.infer<typeof bucketEntry>;
export type ShardEntry = z.infer<typeof shardEntry>;
export type ManifestBody = Omit<Manifest, 'dataset'> & { readonly dataset: Omit<Manifest['dataset'], 'sha256'> };

/** The dataset's identity: SHA-256 of the canonical manifest without `dataset.sha256`, in hexadecimal. */
export function datasetSha256(manifest: ManifestBody): string {
  const { classes, counts } = manifest.dataset;
  return createHash('sha256')
    .update(canonicalJson({ ...manifest, dataset: { classes, counts } }))
    .digest('hex');
}

/** The text of `manifest.json`. */
export function encodeManifest(body: ManifestBody): { manifest: Manifest; text: string } {
  const manifest = manifestSchema.parse({ ...body, dataset: { ...body.dataset, sha256: datasetSha256(body) } });
  return { manifest, text: `${canonicalJson(manifest)}\n` };
}

/**
 * Reads and checks `DIR/manifest.json`.
 * @throws Fault `no-shards`, `manifest-damaged`
 */
export async function readManifest(dir: string): Promise<Manifest> {
  const path = join(dir, MANIFEST_FILE);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new Fault({
      code: 'no-shards',
      received: `${path} cannot be read (${(cause as NodeJS.ErrnoException).code})`,
      expected: 'a folder of packed shards',
      remedy: `pack the photos first: preprocess shard --source PHOTOS --out ${dir}`,
      cause,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw damaged(path, `no JSON (${(cause as Error).message})`, 'JSON');
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw damaged(path, `at ${issue?.path.join('.') || 'its root'}: ${issue?.message}`, MANIFEST_FORMAT);
  }
  const expected = datasetSha256(parsed.data);
  if (parsed.data.dataset.sha256 !== expected)
    throw damaged(path, `dataset.sha256 ${parsed.data.dataset.sha256}`, `${expected}, as the rest of it gives`);
  return parsed.data;
}

function damaged(path: string, received: string, expected: string): Fault {
  return new Fault({
    code: 'manifest-damaged',
    received: `${path}: ${received}`,
    expected,
    remedy: `it was edited, damaged or written by another version; pack again with 'preprocess shard'`,
  });
}
