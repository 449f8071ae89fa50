// What a soak does to its processes and when: a pure function of the seed.

import { Draws } from '#shards';

export type Kind =
  | 'kill-producer'
  | 'stop-producer'
  | 'kill-reader'
  | 'stop-reader'
  | 'kill-broker'
  | 'cut-all'
  | 'break-some'
  | 'stall';

export interface Fault {
  /** Seconds after the start. */
  readonly at: number;
  readonly kind: Kind;
  /** Which producer or reader. The first of several is never killed: its memory has all the time to grow. */
  readonly which: number;
  /** How long a process is stopped or the proxy stalls; longer than a producer's session of 8 s in some. */
  readonly seconds: number;
}

export interface ScheduleOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly producers: number;
  readonly readers: number;
}

/** Kind → how often of 20. A broker takes some seconds to come back, in which nothing else can be shown. */
const SHARES: readonly (readonly [Kind, number])[] = [
  ['kill-producer', 4],
  ['stop-producer', 3],
  ['kill-reader', 3],
  ['stop-reader', 1],
  ['kill-broker', 2],
  ['cut-all', 3],
  ['break-some', 3],
  ['stall', 1],
];
/** Seconds: before the first, between two, after the last. */
const LULL = { first: 10, least: 2, most: 10, last: 20 };
const MOST_STOPPED_SECONDS = 12;

export function schedule({ seed, seconds, producers, readers }: ScheduleOptions): Fault[] {
  const draws = new Draws({ seed, purpose: 'soak' });
  const faults: Fault[] = [];
  for (let at = LULL.first; at < seconds - LULL.last; at += LULL.least + draws.uniform() * (LULL.most - LULL.least)) {
    const kind = kindAt(draws.below(SHARES.reduce((sum, [, share]) => sum + share, 0)));
    const count = kind.endsWith('reader') ? readers : producers;
    const spared = kind.startsWith('kill') && count > 1 ? 1 : 0;
    const which = spared + draws.below(count - spared);
    faults.push({ at, kind, which, seconds: 1 + draws.uniform() * (MOST_STOPPED_SECONDS - 1) });
  }
  return faults;
}

function kindAt(share: number): Kind {
  let left = share;
  for (const [kind, count] of SHARES) {
    if (left < count) return kind;
    left -= count;
  }
  throw new Error(`no kind at ${share}`);
}
