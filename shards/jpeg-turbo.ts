// libjpeg-turbo by its prebuilt Node addon: whole images, on the calling thread, without libvips' overhead.

import { createRequire } from 'node:module';

interface CompressOptions {
  readonly format: number;
  readonly width: number;
  readonly height: number;
  readonly quality: number;
  readonly subsampling: number;
}

interface Decompressed {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
}

export interface JpegTurbo {
  readonly FORMAT_RGB: number;
  readonly SAMP_420: number;
  readonly SAMP_444: number;
  bufferSize(options: { width: number; height: number; subsampling: number }): number;
  decompressSync(jpeg: Buffer, out: Buffer, options: { format: number }): Decompressed;
  compressSync(rgb: Buffer, out: Buffer, options: CompressOptions): Buffer;
}

// CommonJS without default export for ESM; pinned to 2.3.0, whose prebuilt binary is libjpeg-turbo 3.1.2.
const require = createRequire(import.meta.url);
let turbo: JpegTurbo | undefined;

/** The addon, loaded at the first call. */
export function jpegTurbo(): JpegTurbo {
  turbo ??= require('@julusian/jpeg-turbo') as JpegTurbo;
  return turbo;
}

/**
 * Decodes a JPEG to `out`, U8 [height, width, 3], which must be at least of that length. False where libjpeg-turbo
 * refuses the file, warns of it or finds another size: `out` is then undefined.
 */
export function decodeJpegInto(
  file: Uint8Array,
  { width, height }: { width: number; height: number },
  out: Buffer,
): boolean {
  const turbo = jpegTurbo();
  try {
    const jpeg = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
    const decoded = turbo.decompressSync(jpeg, out, { format: turbo.FORMAT_RGB });
    return decoded.width === width && decoded.height === height;
  } catch {
    return false;
  }
}
