// A packed dataset made without decoding anything: the "images" are any bytes, so that its bytes never depend on sharp.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { encodeManifest, type Manifest, type PackedSample, ShardWriter, type SplitEntry, sampleKey } from '#shards';

export async function temporaryFolder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'medium-recipe-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

export function sampleOf(position: number, jpg: Uint8Array, label = position % 2): PackedSample {
  const source = `train/class-${label}/photo.${position}.JPEG`;
  return {
    key: sampleKey(position, source),
    label,
    wnid: `class-${label}`,
    width: 40 + position,
    height: 30,
    source,
    position,
    jpg,
  };
}

/** Writes one bucket of resolution 8: for train a shard for each list of samples, for val one of the first list. */
export async function writeDataset(dir: string, shards: readonly (readonly PackedSample[])[]): Promise<Manifest> {
  await mkdir(join(dir, '8'));
  const split = async (name: 'train' | 'val', lists: typeof shards): Promise<SplitEntry> => {
    const entries = [];
    for (const [ordinal, samples] of lists.entries()) {
      const writer = await ShardWriter.create(dir, { resolution: 8, split: name, ordinal });
      for (const sample of samples) await writer.add(sample);
      entries.push(await writer.finish());
    }
    const samples = lists.flat().length;
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    const bucket = { resolution: 8, shortSide: 40, notEnlarged: 0, bytes, shards: entries };
    return {
      positions: samples,
      samples,
      sourcesSha256: '0'.repeat(64),
      viaTurbo: 0,
      viaSharp: 0,
      buckets: { '8': bucket },
    };
  };
  const splits = { train: await split('train', shards), val: await split('val', shards.slice(0, 1)) };
  const { manifest, text } = await encodeManifest({
    format: 'medium-recipe/shards@3',
    dataset: {
      classes: [
        { index: 0, wnid: 'class-0', name: 'zero' },
        { index: 1, wnid: 'class-1' },
      ],
      counts: { train: splits.train.samples, val: splits.val.samples },
    },
    seed: 0,
    shardSamples: 4,
    fingerprint: { versions: {}, arch: 'any', resize: { quality: 90 } },
    splits,
    rejects: { count: 0, byCode: {}, sha256: '0'.repeat(64) },
  });
  await writeFile(join(dir, 'manifest.json'), text);
  return manifest;
}
