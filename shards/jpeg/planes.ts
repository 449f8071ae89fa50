// Decodes the Y, Cb and Cr planes of a crop of a baseline JPEG, in WebAssembly SIMD; says which files it does not take.

import { reserve, type WasmMemory, wasmKernel } from '../wasm.ts';

/** In pixels of the image. */
export interface Crop {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** U8 [height, width] with `stride` bytes from row to row, at `address` of the decoder's memory. */
export interface Plane {
  readonly address: number;
  readonly stride: number;
  /** Of the component's first sample here, in the component's own samples. */
  readonly left: number;
  readonly top: number;
  /** Samples that belong to the image. */
  readonly width: number;
  readonly height: number;
  /** Pixels a sample is wide and high: 1 or 2. */
  readonly pixelsAcross: number;
  readonly pixelsDown: number;
}

/** One plane (grey) or three (Y, Cb, Cr as JFIF has them); the next decode() overwrites their samples. */
export interface Planes {
  /** Of the whole image, in pixels. */
  readonly width: number;
  readonly height: number;
  readonly planes: readonly Plane[];
  /** The first address behind them, a multiple of 16. */
  readonly end: number;
}

/** The exports of planes.as.ts. */
export interface PlaneKernel {
  readonly memory: WasmMemory;
  heap(): number;
  header(file: number, length: number): number;
  frame(): number;
  scratchBytes(scan: number): number;
  decode(scratch: number, out: number, left: number, upper: number, right: number, lower: number): number;
  readsWhole(): number;
  rgbScratchBytes(): number;
  rgb(first: number, end: number, scratch: number, out: number): void;
}

/** Decoded around the crop, for the resize looks at its edges and chroma may be at half the pixels. */
const GUARD_PIXELS = 2;
const BLOCK = 8;
/** Behind the planes, for the loads of 16 bytes of those who read them. */
const TAIL_BYTES = 64;
/** No file and no decoded crop may be larger: the memory never shrinks. */
const MOST_BYTES = 256 * 1024 * 1024;

const REFUSALS = [undefined, 'unsupported', 'damaged'] as const;

export const openPlaneKernel = wasmKernel<PlaneKernel>(new URL('./planes.wasm', import.meta.url));

export class PlaneDecoder {
  readonly #kernel: PlaneKernel;

  constructor(kernel: PlaneKernel) {
    this.#kernel = kernel;
  }

  /** A decoder with a memory of its own. */
  static load(): PlaneDecoder {
    return new PlaneDecoder(openPlaneKernel());
  }

  /** The address from which on the memory is free for decode() and its caller. */
  get heap(): number {
    return align(this.#kernel.heap());
  }

  /** The memory that the planes' addresses mean; a decode() may replace the buffer by a larger one. */
  get memory(): PlaneKernel['memory'] {
    return this.#kernel.memory;
  }

  /** The rows of a plane, with the gaps between them. */
  bytes({ address, stride, height }: Plane): Uint8Array {
    return new Uint8Array(this.#kernel.memory.buffer, address, stride * height);
  }

  /**
   * The planes of `crop` and two pixels around it, rounded outwards to whole MCUs.
   *
   * 'unsupported': a JPEG that another decoder has to take (progressive, arithmetic, 12 bits, several scans, CMYK, RGB,
   * other sampling than 4:4:4, 4:2:2, 4:2:0 and 4:4:0, too large). 'damaged': no JPEG, a broken header, a crop outside of
   * the image, or a scan that ends or has no code before the crop's last MCU. What is wrong behind that is not seen, and
   * most changed bits just give other samples.
   *
   * What it writes lies at addresses ≥ `from`, a multiple of 16.
   */
  decode(jpeg: Uint8Array, crop: Crop, from = this.heap): Planes | 'unsupported' | 'damaged' {
    const kernel = this.#kernel;
    if (jpeg.length > MOST_BYTES) return 'unsupported';
    reserve(this.#kernel.memory, from + jpeg.length);
    new Uint8Array(kernel.memory.buffer, from, jpeg.length).set(jpeg);
    const refusal = REFUSALS[kernel.header(from, jpeg.length)];
    if (refusal !== undefined) return refusal;

    const [width, height, components, across, down, scan] = new Int32Array(
      kernel.memory.buffer,
      kernel.frame(),
      6,
    ) as unknown as [number, number, number, number, number, number];
    if (!isWithin(crop, width, height)) return 'damaged';
    const horizontal = mcuRange(crop.x, crop.width, { size: width, mcu: BLOCK * across });
    const vertical = mcuRange(crop.y, crop.height, { size: height, mcu: BLOCK * down });
    const mcus = (horizontal.end - horizontal.start) * (vertical.end - vertical.start);
    const mcuBlocks = across * down + components - 1;
    // Each block takes two bits at least, so that a short file cannot ask for much memory.
    if (mcus * mcuBlocks * 2 > scan * 8) return 'damaged';
    const samples = mcus * mcuBlocks * BLOCK * BLOCK;
    if (samples > MOST_BYTES) return 'unsupported';

    const scratch = align(from + jpeg.length);
    const out = align(scratch + kernel.scratchBytes(scan));
    reserve(this.#kernel.memory, out + samples + TAIL_BYTES);
    const failure =
      REFUSALS[kernel.decode(scratch, out, horizontal.start, vertical.start, horizontal.end, vertical.end)];
    if (failure !== undefined) return failure;

    let address = out;
    const planes: Plane[] = [];
    for (let c = 0; c < components; c++) {
      const h = c === 0 ? across : 1;
      const v = c === 0 ? down : 1;
      const stride = (horizontal.end - horizontal.start) * BLOCK * h;
      const left = horizontal.start * BLOCK * h;
      const top = vertical.start * BLOCK * v;
      planes.push({
        address,
        stride,
        left,
        top,
        width: Math.min(stride, Math.ceil((width * h) / across) - left),
        height: Math.min((vertical.end - vertical.start) * BLOCK * v, Math.ceil((height * v) / down) - top),
        pixelsAcross: across / h,
        pixelsDown: down / v,
      });
      address += stride * (vertical.end - vertical.start) * BLOCK * v;
    }
    return { width, height, planes, end: align(address) };
  }
}

const align = (bytes: number): number => Math.ceil(bytes / 16) * 16;

function isWithin({ x, y, width, height }: Crop, imageWidth: number, imageHeight: number): boolean {
  for (const value of [x, y, width, height])
    if (!Number.isInteger(value)) throw new RangeError(`a crop is in whole pixels, not ${value}`);
  return x >= 0 && y >= 0 && width > 0 && height > 0 && x + width <= imageWidth && y + height <= imageHeight;
}

/** The MCUs, start ≤ i < end, that `length` pixels from `from` on and the guard lie in. */
function mcuRange(
  from: number,
  length: number,
  { size, mcu }: { size: number; mcu: number },
): { start: number; end: number } {
  return {
    start: Math.floor(Math.max(0, from - GUARD_PIXELS) / mcu),
    end: Math.ceil(Math.min(size, from + length + GUARD_PIXELS) / mcu),
  };
}
