// The machine that a benchmark ran on, as every result names it.

import { cpus, loadavg, release, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** Of the whole machine, GB of 10^9 bytes. */
  readonly memoryGb: number;
  /** Platform, kernel's release, architecture. */
  readonly os: string;
  readonly node: string;
  /** Of the last minute when the benchmark ended: its own, and what else ran. */
  readonly load: number;
}

export function machine(cores: number): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores,
    memoryGb: Math.round(totalmem() / 1e9),
    os: `${process.platform} ${release()} ${process.arch}`,
    node: process.version,
    load: loadavg()[0] ?? Number.NaN,
  };
}
