// Decodes a whole baseline JPEG to RGB, to the bit as libjpeg does with its accurate DCT and "fancy" upsampling.

import { reserve } from '../wasm.ts';
import { openPlaneKernel, PlaneDecoder, type PlaneKernel } from './planes.ts';

/** Of the pixels; raised whenever they change. */
export const RGB_VERSION = '1';

/** An image's rows, each decoded so far that only its colours are left to be made. */
export interface RgbRows {
  readonly width: number;
  readonly height: number;
  /** Writes rows `first` ≤ y < `end` to `into`, U8 [end − first, width, 3]. */
  copy(first: number, end: number, into: Uint8Array): void;
}

/** The pixels of the largest image that anybody decodes here take as much; this bounds the whole memory. */
const MOST_BYTES = 300_000_000;
/** Pixels are made in pieces that stay in a core's cache until they are copied out. */
const PIECE_BYTES = 64 * 1024;
/** Behind a piece, for whole vectors. */
const TAIL_BYTES = 64;

export class RgbDecoder {
  readonly #kernel: PlaneKernel;
  readonly #planes: PlaneDecoder;

  private constructor(kernel: PlaneKernel) {
    this.#kernel = kernel;
    this.#planes = new PlaneDecoder(kernel);
  }

  /** Compiles the module once per thread. */
  static load(): RgbDecoder {
    return new RgbDecoder(openPlaneKernel());
  }

  /** Of the WebAssembly memory, which never shrinks. */
  get memoryBytes(): number {
    return this.#kernel.memory.buffer.byteLength;
  }

  /**
   * The pixels of a JPEG whose header says this size, until the next decode(). Grey is given as RGB.
   *
   * Refuses whatever libjpeg refuses or only warns of, so that nothing is made up here: 'unsupported' as
   * `PlaneDecoder.decode`, and an image that might take more than 300 MB with its file; 'damaged' as there, another size,
   * and a scan that does not end with its last MCU or is not followed by the image's end. Another decoder may take both.
   */
  decode(jpeg: Uint8Array, { width, height }: { width: number; height: number }): RgbRows | 'unsupported' | 'damaged' {
    // The scan is copied once more, without what is stuffed in; planes have three samples a pixel at most.
    if (2 * jpeg.length + 3 * width * height > MOST_BYTES) return 'unsupported';
    const kernel = this.#kernel;
    const decoded = this.#planes.decode(jpeg, { x: 0, y: 0, width, height });
    if (typeof decoded === 'string') return decoded;
    if (decoded.width !== width || decoded.height !== height || !kernel.readsWhole()) return 'damaged';
    const scratch = Math.max(...decoded.planes.map(({ address, stride, height }) => address + stride * (height + 8)));
    const piece = scratch + kernel.rgbScratchBytes();
    const rowBytes = width * 3;
    const rowsAtOnce = Math.max(1, Math.floor(PIECE_BYTES / rowBytes));
    reserve(kernel.memory, piece + rowsAtOnce * rowBytes + TAIL_BYTES);
    const copy = (first: number, end: number, into: Uint8Array): void => {
      for (let y = first; y < end; y += rowsAtOnce) {
        const rows = Math.min(rowsAtOnce, end - y);
        kernel.rgb(y, y + rows, scratch, piece);
        into.set(new Uint8Array(kernel.memory.buffer, piece, rows * rowBytes), (y - first) * rowBytes);
      }
    };
    return { width, height, copy };
  }
}
