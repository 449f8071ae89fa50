// The machine that a benchmark ran on, as every result names it.

import { cpus, loadavg } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  /** Of the last minute when the benchmark ended: its own, and what else ran. */
  readonly load: number;
}

export function machine(cores: number): Machine {
  return { cpu: cpus()[0]?.model ?? 'unknown', cores, node: process.version, load: loadavg()[0] ?? Number.NaN };
}
