// Checks manifest.json: its bytes, and that what it says of the dataset agrees with itself.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  canonicalJson,
  Fault,
  MANIFEST_FILE,
  type Manifest,
  readManifest,
  SPLITS,
  type Split,
  shardStem,
} from '#shards';
import { PART_FILE } from '../part.ts';
import { STATE_FOLDER } from '../workspace.ts';
import type { DamageList } from './damage.ts';
import type { Tally } from './hashed-file.ts';

/**
 * The manifest, or null where it is damaged: then nothing else can be checked, because every hash is in it.
 * @throws Fault `no-shards`, `unfinished`, `only-a-part`
 */
export async function checkedManifest(dir: string, damages: DamageList, tally: Tally): Promise<Manifest | null> {
  let manifest: Manifest;
  try {
    manifest = await readManifest(dir);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    if (error.code !== 'manifest-damaged') throw (await unfinished(dir)) ?? error;
    tally.files++;
    damages.add({ file: MANIFEST_FILE, what: error.code, expected: error.expected, received: error.received });
    return null;
  }
  const found = await readFile(join(dir, MANIFEST_FILE));
  tally.files++;
  tally.bytes += found.length;
  // What parses to the right values may still be written with other bytes.
  if (!compareBytes(MANIFEST_FILE, Buffer.from(`${canonicalJson(manifest)}\n`), found, damages)) return null;
  checkClaims(manifest, damages);
  return manifest;
}

/** Whether a file has the bytes that follow from the manifest; tells of the first other one. */
export function compareBytes(file: string, expected: Buffer, found: Buffer, damages: DamageList): boolean {
  if (expected.equals(found)) return true;
  const at = expected.findIndex((byte, i) => byte !== found[i]);
  const offset = at < 0 ? expected.length : at;
  const excerpt = (bytes: Buffer): string =>
    offset < bytes.length ? JSON.stringify(bytes.toString('latin1', offset, offset + 20)) : `its end`;
  damages.add({ file, offset, what: 'bytes', expected: excerpt(expected), received: excerpt(found) });
  return false;
}

/** Why there is no manifest, if the folder says so. */
async function unfinished(dir: string): Promise<Fault | null> {
  const names: string[] = await readdir(dir).catch(() => []);
  if (names.includes(PART_FILE))
    return new Fault({
      code: 'only-a-part',
      received: `${dir}, which holds the part of one machine (${PART_FILE})`,
      expected: 'a whole dataset',
      remedy: `join the parts first: 'preprocess merge' checks them, too`,
    });
  if (names.includes(STATE_FOLDER))
    return new Fault({
      code: 'unfinished',
      received: `${dir}, where a run was ended or is under way (${STATE_FOLDER}, no ${MANIFEST_FILE})`,
      expected: 'a finished dataset',
      remedy: `go on with it: 'preprocess shard … --resume'`,
    });
  return null;
}

/** What a wrong writer could have put under a right hash. */
function checkClaims({ dataset, splits, shardSamples, rejects }: Manifest, damages: DamageList): void {
  const same = (what: string, expected: number | string, received: number | string): void => {
    if (expected !== received)
      damages.add({ file: MANIFEST_FILE, what, expected: `${expected}`, received: `${received}` });
  };
  const wnids = dataset.classes.map(({ wnid }) => wnid);
  dataset.classes.forEach(({ index, wnid }, i) => {
    same(`dataset.classes.${i}.index`, i, index);
    same(`dataset.classes.${i}.wnid first at`, i, wnids.indexOf(wnid));
  });
  const resolutions = (split: Split): string => Object.keys(splits[split].buckets).sort().join(', ');
  same('resolutions of val', resolutions('train'), resolutions('val'));
  for (const split of SPLITS) {
    const { positions, samples, viaTurbo, viaSharp, buckets } = splits[split];
    same(`dataset.counts.${split}`, samples, dataset.counts[split]);
    same(`splits.${split}.viaTurbo`, Math.min(viaTurbo, samples), viaTurbo);
    same(`splits.${split}.viaSharp`, Math.min(viaSharp, samples - viaTurbo), viaSharp);
    for (const [resolution, bucket] of Object.entries(buckets)) {
      const where = `splits.${split}.buckets.${resolution}`;
      const sum = (key: 'samples' | 'bytes'): number => bucket.shards.reduce((total, shard) => total + shard[key], 0);
      same(`${where}.resolution`, resolution, `${bucket.resolution}`);
      same(`${where}.shortSide`, splits.train.buckets[resolution]?.shortSide ?? bucket.shortSide, bucket.shortSide);
      same(`${where}.bytes`, sum('bytes'), bucket.bytes);
      same(`samples of ${where}.shards`, samples, sum('samples'));
      same(`length of ${where}.shards`, Math.ceil(positions / shardSamples), bucket.shards.length);
      bucket.shards.forEach(({ file }, i) => {
        same(`${where}.shards.${i}.file`, `${resolution}/${shardStem(split, i)}.tar`, file);
      });
    }
  }
  const { train, val } = splits;
  same('rejects.count', train.positions - train.samples + val.positions - val.samples, rejects.count);
  same(
    'sum of rejects.byCode',
    rejects.count,
    Object.values(rejects.byCode).reduce((total, count) => total + count, 0),
  );
}
