// Backends as the tests load them.

import { type Backend, loadBackend } from '#trainer';

/** Threads of tfjs-node in tests: fixed, as the bits depend on it, and few, as tests share the machine. */
export const THREADS = 2;

export function native(): Promise<Backend> {
  return loadBackend('tfjs-node', { threads: THREADS });
}

/** tfjs-node where it loads, else wasm: for tests that hold on any backend. */
export function anyBackend(): Promise<Backend> {
  return loadBackend('auto', { threads: THREADS });
}
