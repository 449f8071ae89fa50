// The resident memory of a soak's processes, by role, and whether it stays flat.

import { readFileSync } from 'node:fs';

export interface RoleMemory {
  readonly role: string;
  /** Medians of the second and of the last quarter of the time, MB of 10^6 bytes. */
  readonly secondQuarterMb: number;
  readonly lastQuarterMb: number;
  /** Null where its process was started again on the way: a young one's heap is small. */
  readonly flat: boolean | null;
}

interface Sample {
  readonly at: number;
  readonly mb: number;
}

/** The last quarter may be above the second by so much: heaps are collected when it suits V8 and the JVM. */
export const FLAT = { share: 0.1, mb: 10 };

export class Memory {
  readonly #samples = new Map<string, Sample[]>();
  readonly #restarted = new Set<string>();

  /** Notes what a role's process holds now. */
  sample(role: string, pid: number | undefined): void {
    const mb = pid === undefined ? null : residentMb(pid);
    if (mb !== null) this.note(role, { at: performance.now(), mb });
  }

  /** The role has another process from now on. */
  restarted(role: string): void {
    this.#restarted.add(role);
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
      const grown = !(lastQuarterMb <= secondQuarterMb * (1 + FLAT.share) + FLAT.mb);
      return { role, secondQuarterMb, lastQuarterMb, flat: this.#restarted.has(role) ? null : !grown };
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
