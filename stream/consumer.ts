// The reading end: for each step the records that the ledger names, checked, in lane order, whatever else the log holds.

import { Fault } from '#shards';
import { ByteQueue } from './byte-queue.ts';
import { type LaneLedger, type LedgerRecord, openLedgers, StepDigest, VAL_STEP } from './ledger.ts';
import type { RunMeta } from './meta.ts';
import { imageBytes, type Plan, placeOf, resolutionsOf } from './plan.ts';
import { type RecordTensors, readRecord } from './record.ts';
import { TopicReaders } from './topic-readers.ts';
import { topicsOf } from './topics.ts';
import type { LogRecord, Transport } from './transport/transport.ts';

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

/** A chunk with its record's memory. */
interface HeldChunk {
  readonly tensors: RecordTensors;
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

export interface ConsumeCounters {
  /** Records outside every ledger range: a paused owner's, half a step's, a second copy. */
  skipped: number;
  /** Seeks because the lane did not stand where the ledger says. */
  seeks: number;
  bytes: number;
}

export class Consumer {
  readonly counters: ConsumeCounters = { skipped: 0, seeks: 0, bytes: 0 };
  readonly #options: ConsumeOptions;
  readonly #plan: Plan;
  readonly #ledgers: Map<number, LaneLedger>;
  readonly #closeLedgers: () => Promise<void>;
  readonly #readers: TopicReaders;
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
    this.#readers = new TopicReaders(options.transport, options.lanes);
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
      if (other !== resolution) await this.#readers.close(topics.val(other));
    for (let lane = 0; lane < this.#plan.lanes; lane++) {
      // A lane's val record precedes its train records of the phase, so this never takes a record that the lane awaits.
      const entry = await this.#ledger(lane).wait(topics.val(resolution), VAL_STEP);
      if (!entry) return;
      for await (const { tensors, release } of this.#readStep(entry, this.#evaluating)) {
        yield tensors;
        release();
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const queue of this.#queues.values()) queue.end();
    await this.#closeLedgers();
    await this.#readers.close();
    await Promise.all(this.#lanes);
  }

  #ledger(lane: number): LaneLedger {
    const ledger = this.#ledgers.get(lane);
    if (!ledger) throw new Error(`lane ${lane} is not read here`);
    return ledger;
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
        const writtenAt = performance.timeOrigin + performance.now();
        this.#openAhead(step);
        const held: HeldChunk[] = [];
        for await (const chunk of this.#readStep(entry, digest)) held.push(chunk);
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
    await this.#readers.close(topicsOf(this.#options.run).train(before.resolution));
  }

  /** Opens the next phase's topic in a phase's last epoch, so that the switch finds its records here. */
  #openAhead(step: number): void {
    const { phase, epoch } = placeOf(this.#plan, step);
    const next = this.#plan.phases[phase.index + 1];
    if (next && epoch === next.firstEpoch - 1)
      void this.#readers.open(topicsOf(this.#options.run).train(next.resolution));
  }

  /**
   * First occurrences of the step's chunks in [offset, end), in order. A producer appends them in order, so what stands
   * between them is skipped: a paused owner's records, or half a step's.
   */
  async *#readStep(entry: LedgerRecord, digest: StepDigest): AsyncGenerator<HeldChunk> {
    const { topic, lane, step } = entry;
    digest.begin();
    let found = 0;
    if (entry.chunks > 0) {
      const { reader, positions } = await this.#readers.open(topic);
      let position = positions.get(lane) ?? 0;
      if (position !== entry.offset) {
        await this.#checkRetained(entry);
        reader.seek(lane, entry.offset);
        // The val split is read again at each evaluation: no seek to be told of.
        if (step !== VAL_STEP) {
          this.counters.seeks++;
          this.counters.skipped += Math.max(0, entry.offset - position);
        }
        position = entry.offset;
        positions.set(lane, position);
      }
      while (position < entry.end) {
        const record = await reader.next(lane).catch((error: unknown) => Promise.reject(inStep(entry, error)));
        if (!record) throw new Error(`the reader of ${topic} was closed`);
        if (record.offset > position) await this.#checkRetained(entry);
        position = record.offset + 1;
        positions.set(lane, position);
        const { id, tensors } = readIn(entry, record);
        if (id.plan !== this.#options.meta.planHash) throw foreignPlan(entry, id.plan, this.#options.meta.planHash);
        if (id.step !== step || id.lane !== lane || id.chunk !== found) {
          this.counters.skipped++;
          reader.release(record);
          continue;
        }
        digest.add(record.value);
        found++;
        yield { tensors, release: () => reader.release(record) };
      }
    }
    if (found !== entry.chunks) throw chunkMissing(entry, found);
    const bytes = digest.end();
    if (bytes !== entry.digest) throw digestDiffers(entry, bytes);
    this.counters.bytes += entry.bytes;
  }

  async #checkRetained(entry: LedgerRecord): Promise<void> {
    const extent = (await this.#options.transport.ends(entry.topic))[entry.lane];
    if (extent && extent.begin <= entry.offset) return;
    const { run, transport } = this.#options;
    throw new Fault({
      code: 'step-expired',
      received: `${entry.topic}, lane ${entry.lane}: step ${entry.step} at offset ${entry.offset} is gone; the log begins at ${extent?.begin}`,
      expected: 'a step that the log still holds',
      remedy: `regenerate it: stream produce --run ${run} --transport ${transport.url} --from-step ${entry.step} --shards DIR --recipe RECIPE`,
    });
  }
}

/** @throws Fault that tells how to make the step again, where the bytes are no record */
function readIn(entry: LedgerRecord, { offset, value }: LogRecord): ReturnType<typeof readRecord> {
  try {
    return readRecord(value, `${where(entry)} at offset ${offset}`);
  } catch (error) {
    throw inStep(entry, error);
  }
}

/** A Fault of bytes that are lost or damaged says which step has to be made again. */
function inStep(entry: LedgerRecord, error: unknown): unknown {
  if (!(error instanceof Fault) || !['record-lost', 'safetensors-damaged', 'record-incomplete'].includes(error.code))
    return error;
  const remedy = `bytes of the log are lost or damaged; regenerate with stream produce --from-step ${entry.step}`;
  return new Fault({ ...error.toJSON(), remedy, cause: error });
}

const where = ({ topic, lane, step }: LedgerRecord) => `${topic}, lane ${lane}, step ${step}`;

function foreignPlan(entry: LedgerRecord, received: string, expected: string): Fault {
  return new Fault({
    code: 'foreign-plan',
    received: `${where(entry)}: a record of plan ${received}`,
    expected: `plan ${expected}`,
    remedy: 'another run wrote into these topics; give each run its own name',
  });
}

function chunkMissing(entry: LedgerRecord, chunk: number): Fault {
  return new Fault({
    code: 'chunk-missing',
    received: `${where(entry)}: chunk ${chunk} is not in [${entry.offset}, ${entry.end})`,
    expected: `all ${entry.chunks} chunks, as the ledger says`,
    remedy: `the log lost acknowledged records; regenerate with stream produce --from-step ${entry.step}`,
  });
}

function digestDiffers(entry: LedgerRecord, digest: string): Fault {
  return new Fault({
    code: 'digest-mismatch',
    received: `${where(entry)}: bytes with digest ${digest}`,
    expected: `${entry.digest} (fingerprint ${entry.fingerprint})`,
    remedy: `the log's bytes are damaged; regenerate with stream produce --from-step ${entry.step}`,
  });
}
