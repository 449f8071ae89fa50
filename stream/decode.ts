// JPEG bytes → RGB pixels, by libjpeg-turbo. Shards that `preprocess` packed hold baseline 8-bit JPEG only.

import { createRequire } from 'node:module';
import { Fault } from '#shards';
import type { SourceImage } from './kernel/resize.ts';

interface JpegTurbo {
  readonly FORMAT_RGB: number;
  decompressSync(
    image: Buffer,
    out: Buffer,
    options: { format: number },
  ): { data: Buffer; width: number; height: number };
}

// CommonJS without default export for ESM; pinned to 2.3.0, whose prebuilt binary is libjpeg-turbo 3.1.2.
const turbo = createRequire(import.meta.url)('@julusian/jpeg-turbo') as JpegTurbo;

/** Names what the pixels depend on; part of the stream's fingerprint. */
export const DECODER = 'jpeg-turbo@2.3.0';

let scratch = Buffer.alloc(0);

/**
 * Decodes one image of the given size, px, to U8 [height, width, 3]. The pixels are overwritten by the next call.
 * Fault `sample-damaged` where libjpeg-turbo refuses the bytes or finds another size than the index says.
 */
export function decodeJpeg(jpeg: Uint8Array, width: number, height: number, where: string): SourceImage {
  const bytes = width * height * 3;
  if (scratch.length < bytes) scratch = Buffer.allocUnsafeSlow(bytes);
  const damaged = (received: string, cause?: unknown) =>
    new Fault({
      code: 'sample-damaged',
      received: `${where}: ${received}`,
      expected: `a JPEG of ${width}×${height}`,
      remedy: "the shard is damaged; repack with 'preprocess shard'",
      cause,
    });
  let decoded: { data: Buffer; width: number; height: number };
  try {
    const image = Buffer.from(jpeg.buffer, jpeg.byteOffset, jpeg.byteLength);
    decoded = turbo.decompressSync(image, scratch, { format: turbo.FORMAT_RGB });
  } catch (cause) {
    throw damaged((cause as Error).message, cause);
  }
  if (decoded.width !== width || decoded.height !== height) throw damaged(`${decoded.width}×${decoded.height}`);
  return { pixels: decoded.data, width, height };
}
