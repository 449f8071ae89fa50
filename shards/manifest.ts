// The manifest: what a packed dataset is. One canonical JSON file over all shards.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from './canonical.ts';
import { Fault } from './errors.ts';
import type { Manifest } from './manifest-schema.ts';

export type { BucketEntry, ClassEntry, Manifest, ShardEntry, SplitEntry } from './manifest-schema.ts';

export const MANIFEST_FORMAT: Manifest['format'] = 'medium-recipe/shards@3';
export const MANIFEST_FILE = 'manifest.json' as const;

export type ManifestBody = Omit<Manifest, 'dataset'> & { readonly dataset: Omit<Manifest['dataset'], 'sha256'> };

/** The dataset's identity: SHA-256 of the canonical manifest without `dataset.sha256`, in hexadecimal. */
export function datasetSha256(manifest: ManifestBody): string {
  const { classes, counts } = manifest.dataset;
  return createHash('sha256')
    .update(canonicalJson({ ...manifest, dataset: { classes, counts } }))
    .digest('hex');
}

/** The text of `manifest.json`. */
export async function encodeManifest(body: ManifestBody): Promise<{ manifest: Manifest; text: string }> {
  const { manifestSchema } = await import('./manifest-schema.ts');
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
  const { manifestSchema } = await import('./manifest-schema.ts');
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
