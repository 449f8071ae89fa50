// A producer's writing: of steps that are made again, and of the lanes that it owns as one of the run's producers.

import { untilAborted } from './abort.ts';
import { windowGate } from './gate.ts';
import { type LaneStart, openLanes, type Regeneration } from './lane-starts.ts';
import { type WindowGate, writeLane } from './lane-writer.ts';
import { openLedgers, StepDigest } from './ledger.ts';
import { OwnedLanes } from './owned-lanes.ts';
import type { Plan } from './plan.ts';
import type { PoolCounters, RenderPool } from './pool.ts';
import type { ProduceCounters, ProduceOptions } from './producer.ts';
import { producerAbout } from './producer-about.ts';
import type { ProgressWatch } from './progress.ts';
import type { TaskSource } from './tasks.ts';
import { topicsOf } from './topics.ts';

export class Writing {
  readonly #options: ProduceOptions;
  readonly #plan: Plan;
  readonly #tasks: TaskSource;
  readonly #pool: RenderPool;
  readonly #gate: WindowGate;
  readonly #failing = new AbortController();
  readonly #signal: AbortSignal;
  readonly #counters: ProduceCounters = { laneSteps: 0, bytes: 0, append: 0, wait: 0 };
  /** Lanes that are at the plan's end. */
  readonly #ended = new Set<number>();
  #owned: ReadonlySet<number> = new Set();

  constructor(
    options: ProduceOptions,
    plan: Plan,
    tasks: TaskSource,
    pool: RenderPool,
    watch: ProgressWatch,
    regenerating: Regeneration | null,
  ) {
    this.#options = options;
    this.#plan = plan;
    this.#tasks = tasks;
    this.#pool = pool;
    // The first lane that fails stops the others, so that nothing is appended while everything is being closed.
    this.#signal = AbortSignal.any([options.signal, this.#failing.signal]);
    this.#gate = windowGate({
      plan,
      watch,
      windowBytes: options.windowBytes,
      regenerating,
      onWait: (lane, step, slowest) => options.onEvent({ kind: 'window', lane, step, slowest }),
      onWaited: (ms) => {
        this.#counters.wait += ms;
      },
    });
  }

  get counters(): ProduceCounters & PoolCounters {
    return { ...this.#counters, ...this.#pool.counters };
  }

  /** Outside of the group, as whoever owns the lanes does not know of it: all of them, also while others go on writing. */
  async again({ lanes, to }: Regeneration): Promise<void> {
    this.#tellStart(lanes, to);
    const ends = await Promise.allSettled(
      Array.from(lanes, async ([lane, start]) => {
        const until = start.ledger.highestStep + 1;
        try {
          await this.#write(lane, start, until, lanes.size, this.#signal);
        } catch (error) {
          this.#failing.abort();
          throw error;
        }
      }),
    );
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed) throw failed.reason;
  }

  /** As a member of the run's producers. */
  async toTheEnd(): Promise<void> {
    const { transport, run, onEvent } = this.#options;
    if (this.#signal.aborted) return;
    let end = () => {};
    let fail = (_error: unknown) => {};
    const ended = new Promise<void>((resolve, reject) => {
      end = resolve;
      fail = reject;
    });
    // After a signal nobody asks.
    ended.catch(() => {});
    const onFailure = (error: unknown) => {
      this.#failing.abort();
      fail(error);
    };
    let watching: Promise<void> | undefined;
    /** Who has nothing left to write waits for the others' last steps, ready to take over from one that dies. */
    const look = () => {
      if (this.#ended.size === this.#plan.lanes) end();
      else if ([...this.#owned].every((lane) => this.#ended.has(lane)))
        watching ??= this.#othersEnd().then(end, onFailure);
    };
    const lanes = new OwnedLanes<LaneStart>({
      open: (fresh) => this.#open(fresh),
      write: (lane, start, signal) =>
        this.#write(lane, start, this.#plan.steps, this.#owned.size, AbortSignal.any([signal, this.#signal])),
      onEnd: (lane) => {
        this.#ended.add(lane);
        look();
      },
      onFailure,
    });
    const membership = await transport.join({
      topic: topicsOf(run).ledger,
      group: topicsOf(run).producers,
      about: producerAbout(this.#options.windowBytes),
      onOwned: (owned) => {
        this.#owned = owned;
        onEvent({ kind: 'lanes', lanes: [...owned].sort((a, b) => a - b) });
        lanes.own(owned);
        look();
      },
      onFailure,
    });
    try {
      await untilAborted(ended, this.#options.signal);
    } finally {
      // Anybody who waits stops: the writers, and the look at the others.
      this.#failing.abort();
      await membership.leave();
      await lanes.close();
      await watching;
    }
  }

  async #open(lanes: readonly number[]): Promise<Map<number, LaneStart>> {
    const { transport, run } = this.#options;
    const starts = await openLanes(transport, run, lanes);
    this.#tellStart(starts, this.#plan.steps);
    return starts;
  }

  #tellStart(starts: ReadonlyMap<number, LaneStart>, to: number): void {
    this.#options.onEvent({ kind: 'from', steps: new Map(Array.from(starts, ([lane, { from }]) => [lane, from])), to });
  }

  /** Whether the lane came to `to`. `lanes`: how many share the pool. */
  #write(lane: number, { ledger, from }: LaneStart, to: number, lanes: number, signal: AbortSignal): Promise<boolean> {
    const { transport, run, memoryBytes, workers, onEvent } = this.#options;
    return writeLane(
      {
        transport,
        topics: topicsOf(run),
        plan: this.#plan,
        lane,
        ledger,
        digest: new StepDigest(),
        tasks: this.#tasks,
        render: (task) => this.#pool.render(task),
        gate: this.#gate,
        aheadBytes: memoryBytes / this.#plan.lanes,
        aheadSteps: 1 + Math.ceil((4 * workers) / Math.max(1, lanes)),
        signal,
        onStep: (record) => {
          this.#counters.laneSteps++;
          this.#counters.bytes += record.bytes;
          onEvent({ kind: 'step', record, counters: this.counters });
        },
        onReplaced: (damaged) => onEvent({ kind: 'replaced', lane, damaged }),
        onAppend: (ms) => {
          this.#counters.append += ms;
        },
      },
      from,
      to,
    );
  }

  /** Resolves when the ledger has every lane's last step, or this process stops. */
  async #othersEnd(): Promise<void> {
    const { transport, run } = this.#options;
    const last = this.#plan.steps - 1;
    const others = Array.from({ length: this.#plan.lanes }, (_, lane) => lane).filter((lane) => !this.#ended.has(lane));
    const { ledgers, close } = await openLedgers(transport, run, others, this.#plan.steps);
    try {
      await untilAborted(Promise.all(Array.from(ledgers.values(), (ledger) => ledger.reached(last))), this.#signal);
    } finally {
      await close();
    }
  }
}
