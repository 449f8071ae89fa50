// The photos that loaders are compared on: buckets packed by our preprocess, and originals of 500 × 375, ImageNet's mode.
// Made once in the cache: the same JPEG bytes in WebDataset tars for those who read tars, and as files for the others.

import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { PACK_DEFAULTS, pack } from '#preprocess';
import {
  decodeIndex,
  MANIFEST_FORMAT,
  openSplit,
  type PackedSample,
  parseBuckets,
  readManifest,
  type SampleLocation,
  ShardFiles,
  ShardWriter,
  SplitIndex,
  sampleKey,
} from '#shards';
import { cachedFolder } from './cached.ts';
import { type PhotoSet, photoSet, warm } from './photo-set.ts';

/** Change it when what is made changes. */
const VERSION = 2;
const SHARDS = 16;
const BUCKETS = '128:160,224:256,288:320';
const ORIGINAL = { width: 500, height: 375 } as const;

/** One set as its folder describes it; also read by the Python peers. */
export interface LoaderSet {
  readonly samples: readonly SampleLocation[];
  /** Paths under the folder, in the samples' order. */
  readonly files: readonly string[];
  readonly tars: readonly string[];
}

export const CARD = 'set.json';

export interface LoaderSets {
  /** A packed dataset with every bucket. */
  readonly packed: string;
  /** Folder of the set whose images have this short side, px, whole and none smaller. */
  bucket(shortSide: number): string;
  readonly originals: string;
  /** Every train image of the packed bucket, also those that were smaller to begin with. */
  packedBucket(shortSide: number): string;
  /** Those of short side 256 in so many shards. */
  inShards(shards: 4 | 400): string;
}

type Photo = Omit<PackedSample, 'key' | 'position'>;

/** @param images of the photo set that they are made from */
export async function loaderSets(images: number, say: (line: string) => void): Promise<LoaderSets> {
  const photos = await photoSet(images, say);
  const settings = { VERSION, format: MANIFEST_FORMAT, photos: photos.dir, BUCKETS, pack: PACK_DEFAULTS };
  const home = await cachedFolder({
    name: 'bench-loaders',
    settings,
    say,
    async make(aside) {
      say(`packing ${images} photos for the loaders, once`);
      const packed = join(aside, 'packed');
      const shardSamples = Math.max(4, Math.ceil(images / SHARDS));
      await pack({
        ...PACK_DEFAULTS,
        source: photos.dir,
        out: packed,
        buckets: parseBuckets(BUCKETS),
        workers: 2,
        shardSamples,
      });
      for (const { resolution, shortSide } of parseBuckets(BUCKETS)) {
        await describeBucket(join(aside, `packed-${shortSide}`), packed, resolution);
        const whole = await ofBucket(packed, resolution, shortSide);
        await writeSet(join(aside, `short-${shortSide}`), whole, SHARDS);
        if (shortSide !== 256) continue;
        for (const shards of [4, 400]) await writeSet(join(aside, `in-${shards}-shards`), whole, shards);
      }
      await writeSet(join(aside, 'originals'), await originals(photos), SHARDS);
    },
  });
  return {
    packed: join(home, 'packed'),
    bucket: (shortSide) => join(home, `short-${shortSide}`),
    originals: join(home, 'originals'),
    packedBucket: (shortSide) => join(home, `packed-${shortSide}`),
    inShards: (shards) => join(home, `in-${shards}-shards`),
  };
}

export async function readSet(dir: string): Promise<LoaderSet> {
  return JSON.parse(await readFile(join(dir, CARD), 'utf8')) as LoaderSet;
}

/** A bucket of a packed dataset as a set, without files: the shards are linked. */
async function describeBucket(dir: string, packed: string, resolution: number): Promise<void> {
  await mkdir(dir);
  await symlink(join('..', basename(packed), String(resolution)), join(dir, String(resolution)));
  const samples = await locations(packed, resolution);
  const set: LoaderSet = { samples, files: [], tars: [...new Set(samples.map(({ shard }) => shard))] };
  await writeFile(join(dir, CARD), JSON.stringify(set));
}

async function locations(packed: string, resolution: number): Promise<SampleLocation[]> {
  const index = await openSplit(packed, await readManifest(packed), 'train', resolution);
  return Array.from({ length: index.samples }, (_, sample) => index.locate(sample));
}

async function ofBucket(packed: string, resolution: number, shortSide: number): Promise<Photo[]> {
  const files = new ShardFiles(packed);
  try {
    return (await locations(packed, resolution))
      .filter(({ width, height }) => Math.min(width, height) === shortSide)
      .map((location, i) => ({
        jpg: Uint8Array.from(files.readSync(location)),
        source: `train/${location.label}/${i}.jpg`,
        wnid: `class-${location.label}`,
        label: location.label,
        width: location.width,
        height: location.height,
      }));
  } finally {
    files.close();
  }
}

/** The photo set's own bytes. */
async function originals(photos: PhotoSet): Promise<Photo[]> {
  const { default: sharp } = await import('sharp');
  const found: Photo[] = [];
  for (const source of await warm(photos)) {
    const jpg = await readFile(join(photos.dir, source));
    const { width, height } = await sharp(jpg).metadata();
    if (width === ORIGINAL.width && height === ORIGINAL.height)
      found.push({ jpg, source, wnid: 'class-0', label: 0, width, height });
  }
  return found;
}

async function writeSet(dir: string, photos: readonly Photo[], shards: number): Promise<void> {
  const resolution = 0; // the folder's name alone: no manifest speaks of it
  await mkdir(join(dir, String(resolution)), { recursive: true });
  await mkdir(join(dir, 'files'));
  const count = Math.min(shards, photos.length);
  const entries = [];
  const files: string[] = [];
  for (let ordinal = 0; ordinal < count; ordinal++) {
    const from = Math.floor((ordinal * photos.length) / count);
    const to = Math.floor(((ordinal + 1) * photos.length) / count);
    const writer = await ShardWriter.create(dir, { resolution, split: 'train', ordinal });
    for (const [i, photo] of photos.slice(from, to).entries()) {
      const position = from + i;
      await writer.add({ ...photo, position, key: sampleKey(position, photo.source) });
      const file = `files/${String(position).padStart(6, '0')}.jpg`;
      await writeFile(join(dir, file), photo.jpg);
      files.push(file);
    }
    entries.push(await writer.finish());
  }
  const index = new SplitIndex(entries);
  for (const [i, { file }] of entries.entries())
    index.set(i, decodeIndex(await readFile(join(dir, file.replace(/\.tar$/, '.index.safetensors')))));
  const samples = Array.from({ length: index.samples }, (_, sample) => index.locate(sample));
  const set: LoaderSet = { samples, files, tars: entries.map(({ file }) => file) };
  await writeFile(join(dir, CARD), JSON.stringify(set));
}
