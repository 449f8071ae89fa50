// Whether the device is starved, and by what: the share of the steps' time that the trainer waited for data.

import type { Feed } from '#stream';

/** Above it the line says 'starved'. */
const STARVED_SHARE = 0.05;

/** Shares are of the steps' time, 0 … 1: waits and work, without evaluations and checkpoints, and without the first batch. */
export interface DataReport {
  /** `producers` and `reading` together. */
  readonly waited: number;
  /** While no producer had written the step. */
  readonly producers: number;
  /** While the log held it already. */
  readonly reading: number;
  /** Milliseconds until this process had its first batch. */
  readonly firstMs: number;
  /** What starves the trainer; null where it is not starved. */
  readonly starvedBy: 'producers' | 'reading' | null;
}

interface Sums {
  ms: number;
  waitMs: number;
  unwrittenMs: number;
}

const none = (): Sums => ({ ms: 0, waitMs: 0, unwrittenMs: 0 });
const share = (part: number, { ms }: Sums): number => (ms > 0 ? part / ms : 0);

export class DataWait {
  readonly #feed: Pick<Feed, 'waitMs' | 'unwrittenMs'>;
  readonly #all = none();
  #recent = none();
  #before: Pick<Sums, 'waitMs' | 'unwrittenMs'>;
  #firstMs: number | null = null;

  /** Counts what the feed's waits grow by from here on. */
  constructor(feed: Pick<Feed, 'waitMs' | 'unwrittenMs'>) {
    this.#feed = feed;
    this.#before = { waitMs: feed.waitMs, unwrittenMs: feed.unwrittenMs };
  }

  /** After each step; `ms`: how long it took with its wait. */
  add(ms: number): void {
    const { waitMs, unwrittenMs } = this.#feed;
    const wait = { ms, waitMs: waitMs - this.#before.waitMs, unwrittenMs: unwrittenMs - this.#before.unwrittenMs };
    this.#before = { waitMs, unwrittenMs };
    addTo(this.#recent, wait);
    if (this.#firstMs === null) this.#firstMs = wait.waitMs;
    else addTo(this.#all, wait);
  }

  /** The share that was waited since this was last asked, 0 … 1. */
  recent(): number {
    const recent = this.#recent;
    this.#recent = none();
    return share(recent.waitMs, recent);
  }

  /** Null before the second step. */
  report(): DataReport | null {
    const all = this.#all;
    if (this.#firstMs === null || all.ms === 0) return null;
    const waited = share(all.waitMs, all);
    const producers = share(all.unwrittenMs, all);
    const reading = waited - producers;
    const starvedBy = waited <= STARVED_SHARE ? null : producers >= reading ? 'producers' : 'reading';
    return { waited, producers, reading, firstMs: this.#firstMs, starvedBy };
  }
}

function addTo(sums: Sums, { ms, waitMs, unwrittenMs }: Sums): void {
  sums.ms += ms;
  sums.waitMs += waitMs;
  sums.unwrittenMs += unwrittenMs;
}

const VERDICTS = {
  producers: "starved by the producers: see 'bounded by' in the lines of stream produce",
  reading: 'starved by reading the log, which held the steps already: a faster log, or more --prefetch',
} as const;

/** The answer in one line. */
export function dataLine({ waited, producers, reading, firstMs, starvedBy }: DataReport): string {
  const percent = (part: number) => `${Math.round(100 * part)} %`;
  const parts = starvedBy === null ? '' : ` (${percent(producers)} for producers, ${percent(reading)} for reading)`;
  const verdict = starvedBy === null ? 'not starved' : VERDICTS[starvedBy];
  return `data: waited ${percent(waited)} of the steps' time${parts}: ${verdict}; first batch after ${(firstMs / 1000).toFixed(1)} s`;
}
