// The WebAssembly module of resize.as.ts: its exports, and the granules in which its callers lay memory out.

import { readFileSync } from 'node:fs';

/** Weights of an output come in pairs, output rows in fours. */
export const TAPS_GRANULE = 2;
export const ROW_GRANULE = 4;
/** The kernel loads and stores this many bytes at a time. */
export const VECTOR_BYTES = 16;
export const WASM_PAGE_BYTES = 65_536;

/** An instance with a memory of its own. Every argument is an address, a size in bytes or a count. */
export interface ResizeKernel {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
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

// TypeScript declares it for browsers only.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

let module: object | undefined;

/** The module is compiled once a thread. */
export function openResizeKernel(): ResizeKernel {
  module ??= new WebAssembly.Module(readFileSync(new URL('./resize.wasm', import.meta.url)));
  return new WebAssembly.Instance(module).exports as ResizeKernel;
}
