// The reading end: for each step the records that the ledger names, checked, in lane order, whatever else the log holds.

import { ByteQueue } from './byte-queue.ts';
import { type LaneLedger, type LedgerRecord, ledgerDamaged, openLedgers, StepDigest, VAL_STEP } from './ledger.ts';
import type { RunMeta } from './meta.ts';
import { imageBytes, type Plan, placeOf, resolutionsOf } from './plan.ts';
import type { RecordTensors } from './record.ts';
import { type ReadChunk, StepReader, type StepReaderCounters } from './step-reader.ts';
import { topicsOf } from './topics.ts';
import type { Transport } from './transport/transport.ts';

/** A lane's slice of a step: its chunks in order. */
export interface LaneStep {
  readonly lane: number;
  readonly step: number;
  readonly chunks: readonly RecordTensors[];
  readonly samples: number;
  /** When its ledger record was known here, ms since the epoch. */
  readonly writtenAt: number;
  /** The chunks were used: their memory goes to later ones, so they are not to be read after it. */
  release(): void;
}

export interface ConsumeOptions {
  readonly transport: Transport;
  readonly run: string;
  readonly meta: RunMeta;
  readonly lanes: readonly number[];
  readonly fromStep: number;
  /** Bound of prefetched pixel bytes, all lanes; each lane always has room for one step. */
  readonly prefetchBytes: number;
}

export type ConsumeCounters = StepReaderCounters;

export class Consumer {
  readonly #options: ConsumeOptions;
  readonly #plan: Plan;
  readonly #ledgers: Map<number, LaneLedger>;
  readonly #closeLedgers: () => Promise<void>;
  readonly #reader: StepReader;
  readonly #queues: Map<number, ByteQueue<LaneStep>>;
  /** Of `evaluation`, of which one runs at a time. */
  readonly #evaluating = new StepDigest();
  readonly #lanes: Promise<void>[];
  #next: number;
  #closed = false;

  private constructor(options: ConsumeOptions, opened: Awaited<ReturnType<typeof openLedgers>>) {
    this.#options = options;
    this.#plan = options.meta.plan;
    this.#ledgers = opened.ledgers;
    this.#closeLedgers = opened.close;
    const { transport, run, meta, lanes } = options;
    const newest = (entry: LedgerRecord) => this.#newest(entry);
    this.#reader = new StepReader({ transport, run, planHash: meta.planHash, lanes, newest });
    this.#next = options.fromStep;
    const bound = options.prefetchBytes / options.lanes.length;
    const sizeOf = ({ step }: LaneStep) => this.#laneBytes(step);
    this.#queues = new Map(options.lanes.map((lane) => [lane, new ByteQueue<LaneStep>(bound, sizeOf)]));
    this.#lanes = options.lanes.map((lane) => this.#readLane(lane));
  }

  static async open(options: ConsumeOptions): Promise<Consumer> {
    const { transport, run, lanes, fromStep } = options;
    return new Consumer(options, await openLedgers(transport, run, lanes, fromStep));
  }

  get counters(): ConsumeCounters {
    return this.#reader.counters;
  }

  /** The next step, all lanes in order; null at the plan's end. */
  async next(): Promise<LaneStep[] | null> {
    if (this.#next >= this.#plan.steps) return null;
    await this.#leaveTopic(this.#next);
    this.#next++;
    const steps: LaneStep[] = [];
    for (const queue of this.#queues.values()) {
      const step = await queue.shift();
      if (!step) return null;
      steps.push(step);
    }
    return steps;
  }

  /**
   * The val split at a resolution, chunk by chunk in order, read anew at each call. A chunk may be read until the next one
   * is asked for. A lane's digest is checked after its last chunk, so scores count only when the generator has ended.
   */
  async *evaluation(resolution: number): AsyncGenerator<RecordTensors> {
    const topics = topicsOf(this.#options.run);
    for (const other of resolutionsOf(this.#plan))
      if (other !== resolution) await this.#reader.close(topics.val(other));
    for (let lane = 0; lane < this.#plan.lanes; lane++) {
      // A lane's val record precedes its train records of the phase, so this never takes a record that the lane awaits.
      this.#checkVal(lane, resolution);
      const entry = await this.#ledger(lane).wait(topics.val(resolution), VAL_STEP);
      if (!entry) return;
      for await (const { tensors, release } of this.#reader.read(entry, this.#evaluating)) {
        yield tensors;
        release();
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const queue of this.#queues.values()) queue.end();
    await this.#closeLedgers();
    await this.#reader.close();
    await Promise.all(this.#lanes);
  }

  /** A val record comes before the train records of its phase: where those are there it is not to be waited for. */
  #checkVal(lane: number, resolution: number): void {
    const ledger = this.#ledger(lane);
    const topic = topicsOf(this.#options.run).val(resolution);
    const phase = this.#plan.phases.find((each) => each.resolution === resolution);
    if (phase && ledger.highestStep >= phase.firstStep && !ledger.get(topic, VAL_STEP))
      throw ledger.missing(topic, VAL_STEP);
  }

  #ledger(lane: number): LaneLedger {
    const ledger = this.#ledgers.get(lane);
    if (!ledger) throw new Error(`lane ${lane} is not read here`);
    return ledger;
  }

  /** What the ledger says of the step by now, when all of it is read. */
  async #newest(entry: LedgerRecord): Promise<LedgerRecord> {
    const { topic, lane, step } = entry;
    const { run, transport } = this.#options;
    const ledger = this.#ledger(lane);
    await ledger.readTo((await transport.ends(topicsOf(run).ledger))[lane]?.end ?? 0);
    return ledger.get(topic, step) ?? entry;
  }

  #laneBytes(step: number): number {
    const { phase } = placeOf(this.#plan, step);
    return (phase.batch / this.#plan.lanes) * imageBytes(phase.resolution);
  }

  async #readLane(lane: number): Promise<void> {
    const { fromStep, run } = this.#options;
    const queue = this.#queues.get(lane) as ByteQueue<LaneStep>;
    const ledger = this.#ledger(lane);
    const topics = topicsOf(run);
    try {
      const digest = new StepDigest();
      for (let step = fromStep; step < this.#plan.steps; step++) {
        const { phase } = placeOf(this.#plan, step);
        if (!(await queue.room(this.#laneBytes(step)))) return;
        const entry = await ledger.wait(topics.train(phase.resolution), step);
        if (!entry) return;
        checkSize(entry, phase.batch / this.#plan.lanes);
        const writtenAt = performance.timeOrigin + performance.now();
        this.#openAhead(step);
        const held: ReadChunk[] = [];
        for await (const chunk of this.#reader.read(entry, digest)) held.push(chunk);
        ledger.forgetBelow(step + 1);
        const chunks = held.map(({ tensors }) => tensors);
        const release = () => {
          for (const chunk of held.splice(0)) chunk.release();
        };
        queue.push({ lane, step, chunks, samples: entry.samples, writtenAt, release });
      }
      queue.end();
    } catch (error) {
      // One lane's failure is the stream's: the others may wait for a step that never comes.
      for (const each of this.#queues.values()) each.end(this.#closed ? null : error);
    }
  }

  /** Closes the finished phase's topic when `step` begins another and no later phase comes back to it. */
  async #leaveTopic(step: number): Promise<void> {
    const { phase } = placeOf(this.#plan, step);
    const before = this.#plan.phases[phase.index - 1];
    if (!before || step !== phase.firstStep) return;
    const later = this.#plan.phases.slice(phase.index);
    if (later.some(({ resolution }) => resolution === before.resolution)) return;
    await this.#reader.close(topicsOf(this.#options.run).train(before.resolution));
  }

  /** Opens the next phase's topic in a phase's last epoch, so that the switch finds its records here. */
  #openAhead(step: number): void {
    const { phase, epoch } = placeOf(this.#plan, step);
    const next = this.#plan.phases[phase.index + 1];
    if (next && epoch === next.firstEpoch - 1)
      this.#reader.openAhead(topicsOf(this.#options.run).train(next.resolution));
  }
}

/** The one figure of a ledger record that no digest covers and that is handed on. */
function checkSize(entry: LedgerRecord, samples: number): void {
  if (entry.samples !== samples)
    throw ledgerDamaged(
      `${entry.topic}, lane ${entry.lane}, step ${entry.step}: ${entry.samples} samples`,
      `${samples}, as the plan says`,
    );
}
