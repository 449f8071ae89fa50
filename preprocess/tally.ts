// What all workers count together, in memory they share: the packer reads it for the progress line, the workers for
// the limit of rejects and the sign to stop.

import { Fault } from '#shards';

const SLOTS = ['done', 'sourceBytes', 'rejects', 'last'] as const;
type Slot = (typeof SLOTS)[number];

export class Tally {
  /** May be posted to a worker. */
  readonly memory: SharedArrayBuffer;
  readonly #slots: BigInt64Array;

  /** With `memory` that another tally has posted, the same tally. */
  constructor(memory?: SharedArrayBuffer) {
    this.memory = memory ?? new SharedArrayBuffer(8 * SLOTS.length);
    this.#slots = new BigInt64Array(this.memory);
    if (!memory) this.stopAfter(Number.MAX_SAFE_INTEGER);
  }

  /** Adds and gives the new sum. */
  add(slot: Exclude<Slot, 'last'>, amount: number): number {
    return Number(Atomics.add(this.#slots, SLOTS.indexOf(slot), BigInt(amount))) + amount;
  }

  get(slot: Slot): number {
    return Number(Atomics.load(this.#slots, SLOTS.indexOf(slot)));
  }

  /**
   * Asks groups after number `group` to end before their next source; −1 asks all. Those before go on, so that of
   * several failures the first in order is the one that is told.
   */
  stopAfter(group: number): void {
    Atomics.store(this.#slots, SLOTS.indexOf('last'), BigInt(group));
  }

  stops(group: number): boolean {
    return group > this.get('last');
  }
}

/** Nobody sees this one: whoever stopped the run says why. */
export function stopped(): Fault {
  return new Fault({
    code: 'interrupted',
    received: 'the sign to stop',
    expected: 'a run to its end',
    remedy: 'run it again with --resume',
  });
}
