// The resident memory of a soak's processes, by role, and whether it stays flat.

import { readFileSync } from 'node:fs';

export interface RoleMemory {
  readonly role: string;
  /** Medians of the second and of the last quarter of the time, MB of 10^6 bytes. */
  readonly secondQuarterMb: number;
  readonly lastQuarterMb: number;
  readonly flat: boolean;
}

interface Sample {
  readonly at: number;
  readonly mb: number;
}

/** The last quarter may be above the second by so much: heaps are collected when it suits V8 and the JVM. */
export const FLAT = { share: 0.1, mb: 10 };
/** A process that has just been started again is not counted yet. */
const YOUNG_MS = 10_000;

export class Memory {
  readonly #samples = new Map<string, Sample[]>();
  readonly #born = new Map<number, number>();

  /** Notes what a role's process holds now. */
  sample(role: string, pid: number | undefined, at = performance.now()): void {
    const mb = pid === undefined ? null : residentMb(pid);
    if (pid === undefined || mb === null) return;
    if (!this.#born.has(pid)) this.#born.set(pid, at);
    if (at - (this.#born.get(pid) ?? at) < YOUNG_MS) return;
    this.note(role, { at, mb });
  }

  note(role: string, sample: Sample): void {
    const samples = this.#samples.get(role) ?? [];
    samples.push(sample);
    this.#samples.set(role, samples);
  }

  /** Over the time from `begin` to `end`. */
  judge(begin: number, end: number): RoleMemory[] {
    const quarter = (end - begin) / 4;
    return [...this.#samples].map(([role, samples]) => {
      const between = (from: number, to: number) =>
        median(samples.filter(({ at }) => at >= from && at < to).map(({ mb }) => mb));
      const secondQuarterMb = between(begin + quarter, begin + 2 * quarter);
      const lastQuarterMb = between(end - quarter, end);
      const flat = lastQuarterMb <= secondQuarterMb * (1 + FLAT.share) + FLAT.mb;
      return { role, secondQuarterMb, lastQuarterMb, flat };
    });
  }
}

/** NaN of nothing, which is never flat. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Null where the process is gone. */
function residentMb(pid: number): number | null {
  try {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kib === undefined ? null : (Number(kib) * 1024) / 1e6;
  } catch {
    return null;
  }
}
