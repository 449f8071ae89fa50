// A backend: the tensor library on one engine, its kernels, and what its numbers depend on.

import { Fault } from '#shards';
import type { Kernels, TensorLibrary } from './kernels.ts';

export type BackendName = 'tfjs-node' | 'wasm';

/** What the bits of a training run depend on beside recipe and data; kept in every checkpoint. */
export interface Numerics {
  readonly backend: BackendName;
  readonly libraryVersion: string;
  /** Threads inside one operation: sums are split by it, so another number gives other last bits. */
  readonly threads: number;
  readonly arch: string;
  /** The widest vector instructions that the processor has, by which the libraries choose their code. */
  readonly isa: string;
  /** V8's version: the learning rate takes its Math.cos. */
  readonly engine: string;
}

export interface Backend {
  readonly name: BackendName;
  readonly tf: TensorLibrary;
  readonly kernels: Kernels;
  readonly numerics: Numerics;
  /** Why it is not the one that was hoped for; null when it is. Whoever loads it shows the line. */
  readonly note: string | null;
}

export interface BackendOptions {
  /** Threads inside one operation, tfjs-node only. Default: TF_NUM_INTRAOP_THREADS, else all processors. */
  readonly threads?: number;
}

/** @throws Fault `backend-unknown`, or `backend-unavailable` for one that a later version brings. Loads nothing. */
export function checkBackendName(name: string): void {
  if (name === 'auto' || name === 'tfjs-node' || name === 'wasm') return;
  throw new Fault({
    code: name === 'webgpu' ? 'backend-unavailable' : 'backend-unknown',
    received: `backend '${name}'`,
    expected: 'auto, tfjs-node or wasm',
    remedy: name === 'webgpu' ? 'a later version brings webgpu; use auto until then' : 'correct --backend',
    exit: 2,
  });
}

/**
 * Loads a backend and makes it the active one: a process trains on one backend at a time.
 * `auto` is tfjs-node where it loads, else wasm with a note.
 */
export async function loadBackend(name: string, options: BackendOptions = {}): Promise<Backend> {
  checkBackendName(name);
  const loadWasm = async (note: string | null) => (await import('./wasm.ts')).loadWasm(note);
  if (name === 'wasm') return loadWasm(null);
  try {
    return await (await import('./tfjs-node.ts')).loadTfjsNode(options);
  } catch (error) {
    if (name !== 'auto' || !(error instanceof Fault) || error.code !== 'backend-unavailable') throw error;
    return loadWasm(`wasm (slow) instead of tfjs-node: ${error.received}; ${error.remedy}`);
  }
}
