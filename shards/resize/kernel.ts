// The WebAssembly module of resize.as.ts: its exports, and the granules in which its callers lay memory out.

import { type WasmMemory, wasmKernel } from '../wasm.ts';

/** Weights of an output come in pairs, output rows in fours. */
export const TAPS_GRANULE = 2;
export const ROW_GRANULE = 4;
/** The kernel loads and stores this many bytes at a time. */
export const VECTOR_BYTES = 16;

/** An instance with a memory of its own. Every argument is an address, a size in bytes or a count. */
export interface ResizeKernel {
  readonly memory: WasmMemory;
  readonly resize: (
    ...args: readonly [
      src: number,
      stride: number,
      bytes: number,
      rowStarts: number,
      rowWeights: number,
      rowTaps: number,
      rows: number,
      columnStarts: number,
      columnWeights: number,
      columnTaps: number,
      columns: number,
      scratch: number,
      scratchStride: number,
      out: number,
    ]
  ) => void;
  readonly blend: (a: number, b: number, weight: number, bytes: number, out: number) => void;
}

/** An instance with a memory of its own. */
export const openResizeKernel = wasmKernel<ResizeKernel>(new URL('./resize.wasm', import.meta.url));

/** Bytes up to the next whole vector. */
export const align = (bytes: number): number => Math.ceil(bytes / VECTOR_BYTES) * VECTOR_BYTES;
