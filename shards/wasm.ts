// Kernels in WebAssembly: compiled once a thread, an instance for whoever asks.

import { readFileSync } from 'node:fs';

/** Of an instance; it may grow and never shrinks. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

// TypeScript declares it for browsers only.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

const PAGE_BYTES = 65_536;

/** A function that makes instances of the module in `file`, which it reads and compiles when it is first called. */
export function wasmKernel<Exports>(file: URL): () => Exports {
  let module: object | undefined;
  return () => {
    module ??= new WebAssembly.Module(readFileSync(file));
    return new WebAssembly.Instance(module).exports as Exports;
  };
}

/** Grows the memory to at least so many bytes. What was a view of its buffer is none any more where it grew. */
export function reserve(memory: WasmMemory, bytes: number): void {
  const missing = bytes - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
}
