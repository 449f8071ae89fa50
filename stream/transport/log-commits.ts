// The log's write transactions: large values into segments first, then one LMDB transaction for all calls. What comes during a
// commit waits for the next, so one sync of the disk serves as many as there are.

import { Fault } from '#shards';
import { type Place, removeSegments, type SegmentWriter } from './log-segments.ts';
import type { LogStore } from './log-store.ts';

/** A call that waits; `run` gives what to do once it is committed. */
interface Call {
  readonly run: (place: Place | null) => () => void;
  readonly reject: (error: unknown) => void;
  readonly value: Uint8Array | null;
}

/** A segment's last record was removed before this commit: its values must be written anew. */
class SegmentGone extends Error {}

export class Commits {
  readonly #store: LogStore;
  readonly #writer: SegmentWriter;
  readonly #fail: (error: unknown) => unknown;
  readonly #pending: Call[] = [];
  #running: Promise<void> | null = null;
  /** Segments that the transaction under way takes the last record from. */
  #emptied: number[] = [];
  #removing: Promise<unknown> = Promise.resolve();

  /** `fail`: what callers are told of an error of lmdb or the system. */
  constructor(store: LogStore, writer: SegmentWriter, fail: (error: unknown) => unknown) {
    this.#store = store;
    this.#writer = writer;
    this.#fail = fail;
  }

  /**
   * Runs `body` in the next transaction. A Fault fails its own call only, so a body checks before it writes. With a `value`
   * the body gets the place at which it lies by then. Not lmdb's own asynchronous transaction: that takes the lock
   * in a thread and waits for this one, so that a trainer busy with a step would stop every producer.
   */
  run<T>(body: (place: Place | null) => T, value: Uint8Array | null = null): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const run = (place: Place | null) => {
        const result = body(place);
        return () => resolve(result);
      };
      this.#pending.push({ run, reject, value });
      this.#running ??= this.#commitAll();
    });
  }

  /** Inside a transaction: one more, or fewer, of the records that lie in a segment. */
  count(segment: number, records: number): void {
    const { segments } = this.#store;
    const before = segments.get(segment);
    if (before === undefined) throw records > 0 ? new SegmentGone() : new Error(`no row for segment ${segment}`);
    if (before + records > 0) segments.putSync(segment, before + records);
    else {
      segments.removeSync(segment);
      this.#emptied.push(segment);
    }
  }

  /** Until the segments that committed transactions emptied are removed. */
  async removed(): Promise<void> {
    await this.#removing;
  }

  async close(): Promise<void> {
    await this.#running;
    await this.#removing;
    this.#writer.close();
  }

  async #commitAll(): Promise<void> {
    await new Promise(setImmediate);
    while (this.#pending.length > 0) await this.#commit(this.#pending.splice(0));
    this.#running = null;
  }

  async #commit(calls: readonly Call[]): Promise<void> {
    const values = calls.flatMap(({ value }) => value ?? []);
    try {
      let outcomes: (() => void)[] | null = null;
      while (!outcomes) {
        const places = values.length > 0 ? await this.#writer.write(values) : [];
        outcomes = this.#transact(calls, places);
      }
      for (const settle of outcomes) settle();
    } catch (error) {
      // lmdb's and the system's errors carry a number or name; anything else is a defect and stays as it is.
      const told = error instanceof Error && 'code' in error ? this.#fail(error) : error;
      for (const { reject } of calls) reject(told);
    }
  }

  /** Null where a segment was gone, which leaves everything as it was. */
  #transact(calls: readonly Call[], places: readonly Place[]): (() => void)[] | null {
    const outcomes: (() => void)[] = [];
    this.#emptied = [];
    try {
      this.#store.root.transactionSync(() => {
        this.#store.reserve.ensure(calls.length);
        let next = 0;
        for (const { run, reject, value } of calls) {
          const place = value ? places[next++] : undefined;
          try {
            outcomes.push(run(place ?? null));
          } catch (error) {
            if (!(error instanceof Fault)) throw error;
            outcomes.push(() => reject(error));
          }
        }
      });
    } catch (error) {
      if (!(error instanceof SegmentGone)) throw error;
      for (const { segment } of places) this.#writer.leave(segment);
      return null;
    }
    const emptied = this.#emptied;
    for (const segment of emptied) this.#writer.leave(segment);
    // A file that cannot be removed now is removed by the next who opens the log.
    if (emptied.length > 0)
      this.#removing = this.#removing.then(() => removeSegments(this.#store.folder, emptied)).catch(() => undefined);
    return outcomes;
  }
}
