// The lanes that this process writes now: each that comes gets a writer, that of each that goes is stopped. A writer that
// was stopped late, or never heard of it, does no harm (law 3): its records are a second copy of the same bytes.

export interface OwnedLanesOptions<Opened> {
  /** Looks up where lanes stand that just came, all at once. */
  readonly open: (lanes: readonly number[]) => Promise<ReadonlyMap<number, Opened>>;
  /** Writes a lane until its end or until aborted; whether it came to the end. */
  readonly write: (lane: number, opened: Opened, signal: AbortSignal) => Promise<boolean>;
  readonly onEnd: (lane: number) => void;
  readonly onFailure: (error: unknown) => void;
}

export class OwnedLanes<Opened> {
  readonly #options: OwnedLanesOptions<Opened>;
  readonly #stops = new Map<number, AbortController>();
  /** Each lane's writers, one after the other. */
  readonly #writers = new Map<number, Promise<void>>();

  constructor(options: OwnedLanesOptions<Opened>) {
    this.#options = options;
  }

  own(lanes: ReadonlySet<number>): void {
    for (const [lane, stop] of [...this.#stops]) {
      if (lanes.has(lane)) continue;
      this.#stops.delete(lane);
      stop.abort();
    }
    const fresh = [...lanes].filter((lane) => !this.#stops.has(lane));
    if (fresh.length === 0) return;
    const before = Promise.all(fresh.map((lane) => this.#writers.get(lane)));
    const opening = before.then(() => this.#options.open(fresh));
    for (const lane of fresh) {
      const stop = new AbortController();
      this.#stops.set(lane, stop);
      this.#writers.set(lane, this.#write(lane, opening, stop.signal));
    }
  }

  /** Until nothing is written any more. */
  async close(): Promise<void> {
    this.own(new Set());
    await Promise.all(this.#writers.values());
  }

  async #write(lane: number, opening: Promise<ReadonlyMap<number, Opened>>, signal: AbortSignal): Promise<void> {
    const { write, onEnd, onFailure } = this.#options;
    try {
      const opened = (await opening).get(lane);
      if (opened === undefined) throw new Error(`lane ${lane} was not opened`);
      if (!signal.aborted && (await write(lane, opened, signal))) onEnd(lane);
    } catch (error) {
      onFailure(error);
    }
  }
}
