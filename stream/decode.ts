// A sample's bytes → RGB pixels: by libjpeg-turbo on the calling thread, and what that refuses by sharp. Which of them it
// is depends on the bytes alone. Shards that `preprocess` packed hold nothing that is refused.

import { Fault, loadSharp } from '#shards';

/** Names what the pixels depend on; part of the stream's fingerprint. */
export const DECODER = 'jpeg-turbo@2.3.0';

/** A sample's encoded bytes, the size that the index gives it, px, and its name in Faults. */
export interface Encoded {
  readonly file: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly where: string;
}

const FORMATS: readonly string[] = ['jpeg', 'png', 'webp', 'gif'];
/** After it sharp gives up a file. */
const SHARP_SECONDS = 60;

export interface DecodedBySharp {
  /** U8 [height, width, 3]. */
  readonly pixels: Uint8Array;
  /** What the pixels depend on: sharp's pixels differ between CPU architectures. */
  readonly decoder: string;
}

/**
 * JPEG of every kind, PNG, WebP, a GIF's first frame; profiles are applied, transparency is dropped, EXIF's orientation
 * is ignored. Fault `sample-damaged` where sharp refuses the file too, or only warns of it, or where it is of another size.
 */
export async function decodeBySharp({ file, width, height, where }: Encoded): Promise<DecodedBySharp> {
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
