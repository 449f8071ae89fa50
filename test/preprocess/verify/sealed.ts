// A small packed dataset of real JPEGs, and the means to change it under right hashes, as a wrong writer would.

import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import {
  type Bucket,
  canonicalJson,
  decodeIndex,
  encodeIndex,
  encodeManifest,
  type IndexRow,
  type Manifest,
  type ManifestBody,
  readManifest,
  type SampleInfo,
  type ShardEntry,
  ShardWriter,
  SPLITS,
  type Split,
  sampleKey,
} from '#shards';
import { listing } from '../../../preprocess/assemble.ts';
import type { Damage } from '../../../preprocess/verify/damage.ts';
import { type Place, placesOf } from '../../../preprocess/verify/rows.ts';
import { checkShard } from '../../../preprocess/verify/shard.ts';
import { type VerifyReport, verifyDataset } from '../../../preprocess/verify/verify.ts';

export const BUCKETS: readonly Bucket[] = [
  { resolution: 8, shortSide: 12 },
  { resolution: 16, shortSide: 20 },
];
const CLASSES = ['n01', 'n02', 'n03'];
const SHARD_SAMPLES = 4;
/** Positions of train are 0 … 9 and of val 0 … 2; the rejected ones leave a gap, and the second shard of train empty. */
const POSITIONS: Record<Split, number> = { train: 10, val: 3 };
const REJECTED: Record<Split, readonly number[]> = { train: [1, 4, 5, 6, 7], val: [2] };

export interface Packed {
  readonly info: SampleInfo;
  readonly jpg: Uint8Array;
}

/** Writes it; `change` gets every sample before it is written. */
export async function sealedDataset(
  dir: string,
  change: (sample: Packed) => Packed = (same) => same,
): Promise<Manifest> {
  const splits = {} as Record<Split, Manifest['splits']['train']>;
  for (const split of SPLITS) {
    const buckets: Manifest['splits']['train']['buckets'] = {};
    const samples = POSITIONS[split] - REJECTED[split].length;
    for (const bucket of BUCKETS) {
      await mkdir(join(dir, String(bucket.resolution)), { recursive: true });
      const shards: ShardEntry[] = [];
      for (let ordinal = 0; ordinal * SHARD_SAMPLES < POSITIONS[split]; ordinal++)
        shards.push(await writeShard(dir, bucket, { split, ordinal }, change));
      // Position 0 has a source that is smaller than the larger bucket.
      const notEnlarged = bucket.resolution === 16 ? 1 : 0;
      buckets[bucket.resolution] = { ...bucket, notEnlarged, bytes: 0, shards };
    }
    splits[split] = {
      positions: POSITIONS[split],
      samples,
      sourcesSha256: '0'.repeat(64),
      viaTurbo: 0,
      viaSharp: 0,
      buckets,
    };
  }
  const rejects = SPLITS.flatMap((split) =>
    REJECTED[split].map((position) => ({
      split,
      position,
      source: `${split}/x.jpg`,
      code: 'empty-file',
      reason: 'has no bytes',
    })),
  );
  await writeFile(join(dir, 'rejects.jsonl'), rejects.map((reject) => `${canonicalJson(reject)}\n`).join(''));
  return seal(dir, {
    format: 'medium-recipe/shards@3',
    dataset: {
      classes: CLASSES.map((wnid, index) => ({ index, wnid })),
      counts: { train: splits.train.samples, val: splits.val.samples },
    },
    seed: 0,
    shardSamples: SHARD_SAMPLES,
    fingerprint: { versions: {}, arch: 'any', resize: { quality: 90 } },
    splits,
    rejects: { count: rejects.length, byCode: { 'empty-file': rejects.length }, sha256: '0'.repeat(64) },
  });
}

async function writeShard(
  dir: string,
  { resolution, shortSide }: Bucket,
  { split, ordinal }: { readonly split: Split; readonly ordinal: number },
  change: (sample: Packed) => Packed,
): Promise<ShardEntry> {
  const writer = await ShardWriter.create(dir, { resolution, split, ordinal });
  const end = Math.min((ordinal + 1) * SHARD_SAMPLES, POSITIONS[split]);
  for (let position = ordinal * SHARD_SAMPLES; position < end; position++) {
    if (REJECTED[split].includes(position)) continue;
    const label = position % CLASSES.length;
    const wnid = CLASSES[label] as string;
    const source = `${split}/${wnid}/photo ${position}.JPEG`;
    const height = position === 0 ? Math.min(shortSide, 15) : shortSide;
    const width = split === 'val' ? height : height + position;
    const info = { key: sampleKey(position, source), label, wnid, width, height, source, position };
    const changed = change({ info, jpg: await jpegOf(width, height, position) });
    await writer.add({ ...changed.info, jpg: changed.jpg });
  }
  return writer.finish();
}

/** A noisy baseline JPEG, so that a cut in it is noticed. */
export async function jpegOf(width: number, height: number, seed: number): Promise<Buffer> {
  const raw = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 97 + seed * 31) % 251);
  return sharp(raw, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toBuffer();
}

/** Writes the manifest (and the listings) with the hashes and sizes that the files now have. */
export async function seal(dir: string, body: ManifestBody): Promise<Manifest> {
  const sha256 = async (file: string): Promise<string> =>
    createHash('sha256')
      .update(await readFile(join(dir, file)))
      .digest('hex');
  for (const split of SPLITS)
    for (const [resolution, bucket] of Object.entries(body.splits[split].buckets)) {
      for (const shard of bucket.shards) {
        shard.bytes = (await stat(join(dir, shard.file))).size;
        shard.sha256 = await sha256(shard.file);
        shard.indexSha256 = await sha256(shard.file.replace('.tar', '.index.safetensors'));
        shard.idxSha256 = await sha256(shard.file.replace('.tar', '.idx'));
      }
      bucket.bytes = bucket.shards.reduce((sum, { bytes }) => sum + bytes, 0);
      await writeFile(join(dir, resolution, `${split}.json`), listing(split, bucket.resolution, bucket.shards));
    }
  body.rejects.sha256 = await sha256('rejects.jsonl');
  const { manifest, text } = await encodeManifest(body);
  await writeFile(join(dir, 'manifest.json'), text);
  return manifest;
}

/** Changes the manifest under a right hash of its own, and right hashes of the files. */
export async function reseal(dir: string, change: (manifest: Manifest) => void = () => {}): Promise<void> {
  const manifest = structuredClone(await readManifest(dir));
  await seal(dir, manifest);
  const sealed = structuredClone(await readManifest(dir));
  change(sealed);
  await writeFile(join(dir, 'manifest.json'), (await encodeManifest(sealed)).text);
}

/** Verified in this process. */
export function verified(dir: string, deep = false): Promise<VerifyReport> {
  return verifyDataset(dir, { deep, checkShard, parallel: 1 });
}

/** `file: what` of each. */
export function findings({ damages }: { readonly damages: readonly Damage[] }): string[] {
  return damages.map(({ file, what }) => `${file}: ${what}`);
}

/** Writes a shard's index anew: the members' hashes as they now are in the tar, then the rows as `change` gives them. */
export async function reindex(dir: string, tar: string, change: (rows: IndexRow[]) => IndexRow[]): Promise<void> {
  const path = join(dir, tar.replace('.tar', '.index.safetensors'));
  const index = decodeIndex(await readFile(path));
  const file = await readFile(join(dir, tar));
  const sha256 = ({ offset, bytes }: Place): Buffer =>
    createHash('sha256')
      .update(file.subarray(offset, offset + bytes))
      .digest();
  const rows = Array.from({ length: index.samples }, (_, i): IndexRow => {
    const { jpg, cls, json } = placesOf(index, i);
    const of = (column: ArrayLike<number>): number => column[i] as number;
    return {
      ...jpg,
      label: of(index.label),
      width: of(index.width),
      height: of(index.height),
      position: of(index.position),
      jsonBytes: json.bytes,
      sha256: sha256(jpg),
      clsSha256: sha256(cls),
      jsonSha256: sha256(json),
    };
  });
  await writeFile(path, encodeIndex(index.shard, change(rows)));
}
