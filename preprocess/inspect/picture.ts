// A contact sheet of a bucket: samples spread evenly over a split, each with its class below.

import { contactSheet, Fault, type Manifest, openSplit, ShardFiles, type Split, type Tile } from '#shards';

const MOST_TILES = 64;

export interface PictureRequest {
  readonly split: Split;
  readonly resolution: number;
}

/** As PNG, the same for the same dataset. A tile shows the whole stored image, fitted into a square of the resolution. */
export async function drawSamples(
  dir: string,
  manifest: Manifest,
  { split, resolution }: PictureRequest,
): Promise<{ picture: Buffer; tiles: number }> {
  const index = await openSplit(dir, manifest, split, resolution);
  const count = Math.min(MOST_TILES, index.samples);
  const files = new ShardFiles(dir);
  const tiles: Tile[] = [];
  try {
    for (let i = 0; i < count; i++) {
      // The middle of the i-th of `count` equal stretches.
      const { shard, offset, bytes, label } = index.locate(Math.floor(((i + 0.5) * index.samples) / count));
      const pixels = await fitted(files.readSync({ shard, offset, bytes }), resolution, `${shard} at byte ${offset}`);
      const { wnid, name } = manifest.dataset.classes[label] ?? { wnid: `label ${label}` };
      tiles.push({ pixels, caption: name === undefined ? [wnid] : [name, wnid] });
    }
  } finally {
    files.close();
  }
  return { picture: await contactSheet(tiles, resolution), tiles: count };
}

async function fitted(jpeg: Uint8Array, side: number, where: string): Promise<Buffer> {
  const { default: sharp } = await import('sharp');
  try {
    return await sharp(jpeg)
      .resize({ width: side, height: side, fit: 'contain', background: 'white' })
      .toColourspace('srgb')
      .removeAlpha()
      .raw()
      .toBuffer();
  } catch (cause) {
    throw new Fault({
      code: 'sample-damaged',
      received: `${where}: ${(cause as Error).message}`,
      expected: 'a JPEG that decodes',
      remedy: `'preprocess verify --deep' names all that is damaged`,
      cause,
    });
  }
}
