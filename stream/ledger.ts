// The ledger: one small record for each (lane, step), which says where the step is and what it must be.
//
//   record := canonical JSON {topic, lane, step, epoch, offset, end, chunks, samples, bytes, digest, fingerprint}
//
// It lies in partition `lane` of RUN.ledger. The step's chunks lie in [offset, end) of partition `lane` of `topic`.
// A lane's step exists when its ledger record does. Val topics have one record a lane, with step and epoch −1.

import xxhash from 'xxhash-addon';
import { canonicalJson, Fault } from '#shards';
import { topicsOf } from './topics.ts';
import type { LogRecord, Reader, Transport } from './transport/transport.ts';

export interface LedgerRecord {
  readonly topic: string;
  readonly lane: number;
  readonly step: number;
  readonly epoch: number;
  readonly offset: number;
  readonly end: number;
  readonly chunks: number;
  readonly samples: number;
  /** Record bytes of the step's chunks. */
  readonly bytes: number;
  /** Of the step's records in chunk order. */
  readonly digest: string;
  readonly fingerprint: string;
}

/** The step and epoch that stand in val records. */
export const VAL_STEP = -1;

/** XXH3-128 over a step's records, one after the other, so that they need not be held. */
export class StepDigest {
  /** Seed 0. The addon trusts its arguments' types: it dies of anything but a Buffer. */
  readonly #hasher = new xxhash.XXHash128(Buffer.alloc(4));

  /** Begins a step. */
  begin(): void {
    this.#hasher.reset();
  }

  add(record: Uint8Array): void {
    this.#hasher.update(Buffer.from(record.buffer, record.byteOffset, record.byteLength));
  }

  /** 32 hex digits. */
  end(): string {
    return this.#hasher.digest().toString('hex');
  }
}

export function encodeLedger(record: LedgerRecord): Buffer {
  return Buffer.from(canonicalJson(record));
}

/** Two records of one step. Fault `ledger-contradiction` where they have different digests. */
export function checkAgrees(record: LedgerRecord, before: LedgerRecord): void {
  const { topic, lane, step, digest, fingerprint } = record;
  if (before.digest === digest) return;
  throw new Fault({
    code: 'ledger-contradiction',
    received: `${topic}, lane ${lane}, step ${step}: digest ${digest} (fingerprint ${fingerprint})`,
    expected: `${before.digest} (fingerprint ${before.fingerprint}), as the ledger already says`,
    remedy: 'two producers disagree; stop the one whose version or machine differs and choose another --run',
  });
}

const COUNTS = ['lane', 'step', 'epoch', 'offset', 'end', 'chunks', 'samples', 'bytes'] as const;
const TEXTS = ['topic', 'digest', 'fingerprint'] as const;

/** A record of the lane's partition. Fault `ledger-damaged` where its bytes are none of that lane. */
export function decodeLedger({ value, offset }: Pick<LogRecord, 'value' | 'offset'>, lane: number): LedgerRecord {
  const text = value.toString('utf8');
  const record = parsed(text) as Partial<LedgerRecord> | null;
  const whole =
    typeof record === 'object' &&
    record !== null &&
    COUNTS.every((key) => Number.isSafeInteger(record[key])) &&
    TEXTS.every((key) => typeof record[key] === 'string') &&
    record.lane === lane &&
    canonicalJson(record) === text;
  if (!whole)
    throw ledgerDamaged(
      `ledger of lane ${lane}, offset ${offset}: ${text.slice(0, 200)}`,
      `a canonical ledger record of lane ${lane}`,
    );
  return record as LedgerRecord;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Told with the text.
    return null;
  }
}

/** The ledger is the one thing that cannot be made again in place: it says what the bytes must be. */
export function ledgerDamaged(received: string, expected: string): Fault {
  return new Fault({
    code: 'ledger-damaged',
    received,
    expected,
    remedy:
      'the log is damaged; produce the stream under another --run: it is the same to the byte, and a trainer resumes on it',
  });
}

/** A lane's ledger, by topic and step; follows the partition as it grows. */
export class LaneLedger {
  readonly #topics = new Map<string, Map<number, LedgerRecord>>();
  readonly #lane: number;
  readonly #reader: Reader;
  #highest = -1;
  /** Offset of the next record of the partition. */
  #read = 0;
  #taking: Promise<number> | null = null;
  /** Train steps below it are of no more use and are not kept, so that memory does not grow with the run. */
  #floor: number;

  private constructor(lane: number, reader: Reader, floor: number) {
    this.#lane = lane;
    this.#reader = reader;
    this.#floor = floor;
  }

  /** Reads what the ledger holds now, up to `end`; `wait` reads on. One reader may serve many lanes. */
  static async open(reader: Reader, lane: number, end: number, floor: number): Promise<LaneLedger> {
    const ledger = new LaneLedger(lane, reader, floor);
    await ledger.readTo(end);
    return ledger;
  }

  /** The highest train step of the lane, −1 where there is none. */
  get highestStep(): number {
    return this.#highest;
  }

  /** The newest record of a step, if there is one yet. */
  get(topic: string, step: number): LedgerRecord | undefined {
    return this.#topics.get(topic)?.get(step);
  }

  /** Waits until the ledger holds the step. Null when the reader was closed. Fault `ledger-damaged` where it was left out. */
  async wait(topic: string, step: number): Promise<LedgerRecord | null> {
    for (;;) {
      const found = this.get(topic, step);
      if (found) return found;
      if (step !== VAL_STEP && step <= this.#highest) throw this.missing(topic, step);
      if ((await this.#take()) < 0) return null;
    }
  }

  /** Waits until the lane has come to a train step. False when the reader was closed. */
  async reached(step: number): Promise<boolean> {
    while (this.#highest < step) if ((await this.#take()) < 0) return false;
    return true;
  }

  /** For a step that must be there, as later ones are. */
  missing(topic: string, step: number): Fault {
    return ledgerDamaged(
      `${topic}, lane ${this.#lane}: no record of step ${step}, but one of ${this.#highest}`,
      'the steps of a lane in order',
    );
  }

  /** Notes a record, read or appended. Fault `ledger-contradiction` where one of its step has another digest. */
  add(record: LedgerRecord): void {
    const { topic, step } = record;
    if (step > this.#highest) this.#highest = step;
    if (step !== VAL_STEP && step < this.#floor) return;
    let steps = this.#topics.get(topic);
    if (!steps) {
      steps = new Map();
      this.#topics.set(topic, steps);
    }
    const before = steps.get(step);
    if (before) checkAgrees(record, before);
    steps.set(step, record);
  }

  /** Drops train steps below `floor`, and those that come later. */
  forgetBelow(floor: number): void {
    this.#floor = Math.max(this.#floor, floor);
    for (const steps of this.#topics.values())
      for (const step of steps.keys()) if (step !== VAL_STEP && step < this.#floor) steps.delete(step);
  }

  /** Train topics in which records are known. */
  get trainTopics(): string[] {
    return [...this.#topics].filter(([, steps]) => !steps.has(VAL_STEP)).map(([topic]) => topic);
  }

  /** The lowest step whose records lie at `offset` or above; Infinity where there is none. */
  firstStepFrom(topic: string, offset: number): number {
    let lowest = Infinity;
    for (const [step, record] of this.#topics.get(topic) ?? [])
      if (record.offset >= offset) lowest = Math.min(lowest, step);
    return lowest;
  }

  /** The offset below which a topic holds nothing of the steps from `keep` on. A step made again lies above later ones. */
  offsetBelow(topic: string, keep: number): number {
    let lowestKept = Infinity;
    let highestGone = 0;
    for (const [step, { offset, end }] of this.#topics.get(topic) ?? [])
      if (step >= keep) lowestKept = Math.min(lowestKept, offset);
      else highestGone = Math.max(highestGone, end);
    return lowestKept === Infinity ? highestGone : lowestKept;
  }

  /** Reads on to `end` of the partition. */
  async readTo(end: number): Promise<void> {
    while (this.#read < end) if ((await this.#take()) < 0) return;
  }

  /** The next record's offset, −1 when the reader was closed. Who asks meanwhile is answered with it, too. */
  #take(): Promise<number> {
    this.#taking ??= this.#takeOne().finally(() => {
      this.#taking = null;
    });
    return this.#taking;
  }

  async #takeOne(): Promise<number> {
    const record = await this.#reader.next(this.#lane);
    if (!record) return -1;
    const made = decodeLedger(record, this.#lane);
    if (made.step > this.#highest + 1) throw this.missing(made.topic, this.#highest + 1);
    this.add(made);
    this.#read = record.offset + 1;
    return record.offset;
  }
}

/** Opens the ledgers of some lanes with one reader; train steps below `floor` are left out. */
export async function openLedgers(
  transport: Transport,
  run: string,
  lanes: readonly number[],
  floor = 0,
): Promise<{ ledgers: Map<number, LaneLedger>; close: () => Promise<void> }> {
  const { ledger: topic } = topicsOf(run);
  const extents = await transport.ends(topic);
  const reader = await transport.read({ topic, from: new Map(lanes.map((lane) => [lane, 0])), maxBytes: 1_000_000 });
  const ledgers = new Map<number, LaneLedger>();
  try {
    for (const lane of lanes) ledgers.set(lane, await LaneLedger.open(reader, lane, extents[lane]?.end ?? 0, floor));
  } catch (error) {
    await reader.close();
    throw error;
  }
  return { ledgers, close: () => reader.close() };
}
