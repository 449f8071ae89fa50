// Folders of small photos, made here: every kind of file that a data set may hold.

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import sharp, { type Sharp } from 'sharp';
import { PACK_DEFAULTS, type PackOptions, pack } from '#preprocess';
import { type Manifest, parseBuckets } from '#shards';
import { temporaryFolder } from '../shards/dataset.ts';

/** Contents by path. */
export type Files = Readonly<Record<string, string | Uint8Array>>;

/** An image with structure, so that its JPEG is not trivial; the same for the same arguments. */
export function picture(width: number, height: number, shade = 0): Sharp {
  const data = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      data.set([(x * 5 + shade * 40) & 255, (y * 7) & 255, ((x ^ y) * 3 + shade) & 255], (y * width + x) * 3);
  return sharp(data, { raw: { width, height, channels: 3 } });
}

export const jpeg = (width: number, height: number, shade = 0): Promise<Buffer> =>
  picture(width, height, shade).jpeg({ quality: 85 }).toBuffer();

/** Writes files by their path from `dir`. */
export async function writeFiles(dir: string, files: Files): Promise<string> {
  for (const [path, data] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), data);
  }
  return dir;
}

/** Two classes; 10 photos in train, 3 in val, of several sizes. */
export async function photos(): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {};
  for (let i = 0; i < 10; i++) files[`train/${i % 2 ? 'cat' : 'dog'}/photo_${i}.JPEG`] = await jpeg(60 + 3 * i, 50, i);
  for (let i = 0; i < 3; i++) files[`val/${i % 2 ? 'cat' : 'dog'}/photo_${i}.JPEG`] = await jpeg(48, 60 + i, i);
  return files;
}

/** As many train photos, by copying those of `few` under other names; val stays. */
export function manyPhotos(few: Readonly<Record<string, Buffer>>, count: number): Record<string, Buffer> {
  const train = Object.entries(few).filter(([path]) => path.startsWith('train/'));
  const many = Object.fromEntries(
    Array.from({ length: count }, (_, i) => {
      const [path, data] = train[i % train.length] as [string, Buffer];
      return [path.replace(/\.JPEG$/, `_${i}.JPEG`), data];
    }),
  );
  return { ...many, ...Object.fromEntries(Object.entries(few).filter(([path]) => path.startsWith('val/'))) };
}

/** Every file with its hash. */
export async function treeOf(dir: string): Promise<Record<string, string>> {
  const tree: Record<string, string> = {};
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    tree[path.slice(dir.length + 1)] = createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
  }
  return tree;
}

export interface Packed {
  readonly out: string;
  readonly manifest: Manifest;
}

/** Packs such a folder into two small buckets, four positions a shard. */
export async function packed(
  t: TestContext,
  files: Files,
  options: Partial<Omit<PackOptions, 'part'>> = {},
): Promise<Packed> {
  const dir = await temporaryFolder(t);
  const out = options.out ?? join(dir, 'out');
  const manifest = await pack({
    source: await writeFiles(join(dir, 'source'), files),
    buckets: parseBuckets('16:20,32:40'),
    workers: 1,
    ...PACK_DEFAULTS,
    shardSamples: 4,
    ...options,
    out,
  });
  return { out, manifest };
}
