// A sample's bytes → the workspace's source. Baseline JPEGs, which is what `preprocess` packs, by the decoder of our own; what
// that does not take by libjpeg-turbo, and what that refuses by sharp.

import { decodeJpegInto, Fault, loadSharp } from '#shards';
import type { CropBox } from './augment/random-resized-crop.ts';
import type { Workspace } from './kernel/workspace.ts';

/** Names in the stream's fingerprint. Ours: libjpeg's accurate DCT, colour after the resize. */
export const DECODER = 'planes@1';
export const LIBJPEG_TURBO = 'jpeg-turbo@2.3.0';

/** `sharp`: nothing else is tried; slow, to compare with. */
export type DecoderChoice = 'fastest' | 'sharp';

/** A sample's encoded bytes, the size that the index gives it, px, and its name in Faults. */
export interface Encoded {
  readonly file: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly where: string;
}

/**
 * Decodes the box, or the whole image. Resolves to the decoder's name, which depends on the bytes alone or, where the
 * entropy-coded data is damaged, on bytes and box.
 * @throws Fault `sample-damaged`
 */
export async function decodeInto(
  workspace: Workspace,
  encoded: Encoded,
  box: CropBox,
  choice: DecoderChoice,
): Promise<string> {
  const { file } = encoded;
  if (choice === 'fastest') {
    if (workspace.decode(file, encoded, box)) return DECODER;
    if (decodeJpegInto(file, encoded, workspace.source(encoded))) return LIBJPEG_TURBO;
  }
  // The reader's memory may be overwritten while sharp is at work.
  const { pixels, decoder } = await decodeBySharp({ ...encoded, file: new Uint8Array(file) });
  workspace.source(encoded).set(pixels);
  return decoder;
}

const FORMATS: readonly string[] = ['jpeg', 'png', 'webp', 'gif'];
/** After it sharp gives up a file. */
const SHARP_SECONDS = 60;

interface DecodedBySharp {
  /** U8 [height, width, 3]. */
  readonly pixels: Uint8Array;
  /** What the pixels depend on: sharp's pixels differ between CPU architectures. */
  readonly decoder: string;
}

/**
 * JPEG of every kind, PNG, WebP, a GIF's first frame; profiles are applied, transparency is dropped, EXIF's orientation
 * is ignored. Fault `sample-damaged` where sharp refuses the file too, or only warns of it, or where it is of another size.
 */
async function decodeBySharp({ file, width, height, where }: Encoded): Promise<DecodedBySharp> {
  const damaged = (received: string, cause?: unknown) =>
    new Fault({
      code: 'sample-damaged',
      received: `${where}: ${received}`,
      expected: `an image of ${width}×${height}`,
      remedy: "the shard is damaged; repack with 'preprocess shard'",
      cause,
    });
  const sharp = await loadSharp();
  // The first warning refuses a file: damage that a decoder papers over would be trained on unseen.
  const image = sharp(file, { failOn: 'warning' });
  try {
    const found = await image.metadata();
    if (!FORMATS.includes(found.format)) throw damaged(`a file of format ${found.format}`);
    if (found.width !== width || found.height !== height) throw damaged(`${found.width}×${found.height}`);
    const { data, info } = await image
      .toColourspace('srgb')
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .timeout({ seconds: SHARP_SECONDS })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw damaged(`${info.channels} channels, not 3`);
    const { sharp: version = 'unknown', vips } = sharp.versions;
    return { pixels: data, decoder: `sharp@${version}-libvips@${vips}-${process.arch}` };
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    throw damaged(`neither libjpeg-turbo nor sharp decodes it (${(cause as Error).message.split('\n')[0]})`, cause);
  }
}
