// Evaluation on original files by the protocol of published figures: decode, resize the short side, crop the centre.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  centreSquare,
  Fault,
  loadScanSource,
  loadSharp,
  RgbDecoder,
  type RgbImage,
  resizeShortSide,
  type ScanResult,
  ShardFiles,
  type SourceEntry,
  type Split,
} from '#shards';
import { chunkSizes } from './plan.ts';

export interface OriginalsOptions {
  /** What `preprocess shard --source` takes; a val that is evaluated may be there alone. */
  readonly source: string;
  readonly split: Split;
  /** Side of the images, px. */
  readonly resolution: number;
  /** Side of the central square over the resized short side, which is round(resolution / cropRatio). */
  readonly cropRatio: number;
}

export interface OriginalBatch {
  /** U8 [n, resolution, resolution, 3]. */
  readonly images: Uint8Array<ArrayBuffer>;
  /** [n]. */
  readonly labels: Int32Array<ArrayBuffer>;
  /** SPLIT/WNID/NAME of each. */
  readonly paths: readonly string[];
}

/** A split's original files, listed. */
export interface Originals {
  readonly entries: readonly SourceEntry[];
  readonly classes: ScanResult['classes'];
  readonly notices: readonly string[];
  /** Every photo once, in the list's order. */
  batches(): AsyncGenerator<OriginalBatch>;
  /** How many photos were decoded by what, so far. */
  readonly decoders: Readonly<Record<'libjpeg-exact' | 'sharp', number>>;
}

/** Of a photo; decoded, 300 MB. */
const MAX_PIXELS = 100_000_000;

/**
 * torchvision's `Resize(round(resolution / cropRatio))` and `CenterCrop(resolution)` on what Pillow decodes: the same
 * pixels, to the bit, for baseline JPEGs, grey ones included, at 8 bits. What is no such JPEG sharp decodes: progressive
 * ones alike, CMYK by other formulas than Pillow's. EXIF's orientation and profiles are ignored, as there.
 * @throws Fault `original-damaged` for a photo that cannot be decoded: nothing is left out.
 */
export async function openOriginals(options: OriginalsOptions): Promise<Originals> {
  const { source, split, resolution, cropRatio } = options;
  const scanSource = await loadScanSource();
  const entries: SourceEntry[] = [];
  const add = (found: Split, entry: SourceEntry) => {
    if (found === split) entries.push(entry);
  };
  const { classes, strays, notices } = await scanSource(source, add, [split]);
  const ignored = strays.count > 0 ? [`${strays.count} files of no class are left out, ${strays.first[0]} first`] : [];
  const decoders = { 'libjpeg-exact': 0, sharp: 0 };
  const shortSide = Math.round(resolution / cropRatio);
  const decoder = RgbDecoder.load();
  async function* batches(): AsyncGenerator<OriginalBatch> {
    const tars = new ShardFiles(source, 8);
    const load = async (entry: SourceEntry) => {
      const { file, offset, bytes } = entry;
      try {
        return await decode(
          decoder,
          bytes < 0 ? await readFile(join(source, file)) : tars.readSync({ shard: file, offset, bytes }),
        );
      } catch (cause) {
        throw damaged(source, entry, cause as Error);
      }
    };
    try {
      let next = 0;
      for (const size of chunkSizes(entries.length, resolution)) {
        const batch = entries.slice(next, next + size);
        next += size;
        const images = new Uint8Array(size * resolution * resolution * 3);
        for (const [i, entry] of batch.entries()) {
          const { image, by } = await load(entry);
          decoders[by]++;
          const square = centreSquare(resizeShortSide(image, shortSide), resolution);
          images.set(square.data, i * square.data.length);
        }
        const labels = Int32Array.from(batch, ({ label }) => label);
        yield { images, labels, paths: batch.map(({ path }) => path) };
      }
    } finally {
      tars.close();
    }
  }
  return { entries, classes, notices: [...notices, ...ignored], batches, decoders };
}

/** Throws what the decoders do. */
async function decode(
  decoder: RgbDecoder,
  file: Uint8Array,
): Promise<{ readonly image: RgbImage; readonly by: 'libjpeg-exact' | 'sharp' }> {
  const sharp = await loadSharp();
  // The first error refuses a file, as Pillow does; harmless warnings pass.
  const source = sharp(file, { failOn: 'error', limitInputPixels: MAX_PIXELS, ignoreIcc: true });
  const { width, height } = await source.metadata();
  const rows = decoder.decode(file, { width, height });
  if (typeof rows !== 'string') {
    const data = new Uint8Array(width * height * 3);
    rows.copy(0, height, data);
    return { image: { data, width, height }, by: 'libjpeg-exact' };
  }
  const { data, info } = await source
    .toColourspace('srgb')
    .removeAlpha()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new Error(`decodes to ${info.channels} channels, not 3`);
  return { image: { data, width: info.width, height: info.height }, by: 'sharp' };
}

function damaged(source: string, { path, file }: SourceEntry, cause: Error): Fault {
  return new Fault({
    code: 'original-damaged',
    received: `${path} in ${join(source, file)}: ${cause.message.split('\n')[0]}`,
    expected: 'a photo that can be read and decoded: an evaluation leaves none out',
    remedy: 'mend or replace it, or take it out of --source',
    cause,
  });
}
