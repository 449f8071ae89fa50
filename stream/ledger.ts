// The ledger: one small record for each (lane, step), which says where the step is and what it must be.
//
//   record := canonical JSON {topic, lane, step, epoch, offset, end, chunks, samples, bytes, digest, fingerprint}
//
// It lies in partition `lane` of RUN.ledger. The step's chunks lie in [offset, end) of partition `lane` of `topic`.
// A lane's step exists when its ledger record does. Val topics have one record a lane, with step and epoch −1.

import { xxh3 } from '@node-rs/xxhash';
import { canonicalJson, Fault } from '#shards';
import { topicsOf } from './topics.ts';
import type { Reader, Transport } from './transport/transport.ts';

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
  /** `digestOf` the step's chunks. */
  readonly digest: string;
  readonly fingerprint: string;
}

/** The step and epoch that stand in val records. */
export const VAL_STEP = -1;

/** XXH3-128 of the records' bytes, one after the other; 32 hex digits. */
export function digestOf(records: readonly Uint8Array[]): string {
  const [first] = records;
  const whole = records.length === 1 && first ? first : Buffer.concat(records);
  return xxh3.xxh128(whole).toString(16).padStart(32, '0');
}

export function encodeLedger(record: LedgerRecord): Buffer {
  return Buffer.from(canonicalJson(record));
}

/** A lane's ledger, by topic and step; follows the partition as it grows. */
export class LaneLedger {
  readonly #records = new Map<string, LedgerRecord>();
  readonly #lane: number;
  readonly #reader: Reader;
  #highest = -1;

  private constructor(lane: number, reader: Reader) {
    this.#lane = lane;
    this.#reader = reader;
  }

  /** Reads what the ledger holds now; `follow` reads on. One reader may serve many lanes. */
  static async open(reader: Reader, lane: number, end: number): Promise<LaneLedger> {
    const ledger = new LaneLedger(lane, reader);
    for (let last = -1; last < end - 1; ) {
      last = await ledger.#take();
      if (last < 0) break;
    }
    return ledger;
  }

  /** The highest train step of the lane, −1 where there is none. */
  get highestStep(): number {
    return this.#highest;
  }

  /** The newest record of a step, if there is one yet. */
  get(topic: string, step: number): LedgerRecord | undefined {
    return this.#records.get(`${topic} ${step}`);
  }

  /** Waits until the ledger holds the step. Null when the reader was closed. */
  async wait(topic: string, step: number): Promise<LedgerRecord | null> {
    for (;;) {
      const found = this.get(topic, step);
      if (found) return found;
      if ((await this.#take()) < 0) return null;
    }
  }

  /** Notes a record that this process appended itself. */
  add(record: LedgerRecord): void {
    const { topic, step, digest } = record;
    const key = `${topic} ${step}`;
    const before = this.#records.get(key);
    if (before && before.digest !== digest)
      throw new Fault({
        code: 'ledger-contradiction',
        received: `${topic}, lane ${this.#lane}, step ${step}: digest ${digest} (fingerprint ${record.fingerprint})`,
        expected: `${before.digest} (fingerprint ${before.fingerprint}), as the ledger already says`,
        remedy: 'two producers disagree; stop the one whose version or machine differs and choose another --run',
      });
    this.#records.set(key, record);
    if (step > this.#highest) this.#highest = step;
  }

  /** Drops a step that is done with, so that a long run's ledger does not grow in memory. */
  forget(topic: string, step: number): void {
    this.#records.delete(`${topic} ${step}`);
  }

  async #take(): Promise<number> {
    const record = await this.#reader.next(this.#lane);
    if (!record) return -1;
    this.add(JSON.parse(record.value.toString('utf8')) as LedgerRecord);
    return record.offset;
  }
}

/** Opens the ledgers of some lanes with one reader. */
export async function openLedgers(
  transport: Transport,
  run: string,
  lanes: readonly number[],
): Promise<{ ledgers: Map<number, LaneLedger>; close: () => Promise<void> }> {
  const { ledger: topic } = topicsOf(run);
  const extents = await transport.ends(topic);
  const reader = await transport.read({ topic, from: new Map(lanes.map((lane) => [lane, 0])), maxBytes: 1_000_000 });
  const ledgers = new Map<number, LaneLedger>();
  for (const lane of lanes) ledgers.set(lane, await LaneLedger.open(reader, lane, extents[lane]?.end ?? 0));
  return { ledgers, close: () => reader.close() };
}
