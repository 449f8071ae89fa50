// The WebAssembly module of pixels.as.ts: its exports and the granules in which its callers lay memory out.

import type { PlaneKernel } from './jpeg/planes.ts';
import type { ResizeKernel } from './resize/kernel.ts';
import { wasmKernel } from './wasm.ts';

/** Output rows of planes are made in eights. */
export const PLANE_ROW_GRANULE = 8;
/** Of a plane's task: its fields, i32 each, in the kernel's order. */
export const PLANE_TASK_BYTES = 9 * 4;

/** Every argument is an address, a count or a flag; a plane's task is at an address, 0 for a chroma that is not there. */
export interface PixelKernel extends PlaneKernel, ResizeKernel {
  tapsOf(length: number, target: number, halved: boolean): number;
  fillAxis(
    ...args: readonly [
      starts: number,
      weights: number,
      taps: number,
      outputs: number,
      target: number,
      from: number,
      length: number,
      first: number,
      samples: number,
      halved: boolean,
      mirrored: boolean,
      raw: number,
    ]
  ): void;
  planeScratchBytes(luma: number, chroma: number, size: number): number;
  resizePlanes(luma: number, cb: number, cr: number, rows: number, size: number, scratch: number, out: number): void;
}

/** An instance with a memory of its own. */
export const openPixelKernel = wasmKernel<PixelKernel>(new URL('./pixels.wasm', import.meta.url));
