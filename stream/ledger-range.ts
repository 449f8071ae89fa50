// What the ledger says of a range of train steps, read once and kept in columns: 50 bytes a lane and step, so that the
// whole of a long run fits (`medium`, 43,745 steps of 32 lanes: 70 MB). Of several records of a step the newest counts.

import { Fault } from '#shards';
import { checkAgrees, decodeLedger, type LedgerRecord } from './ledger.ts';
import { type Plan, placeOf } from './plan.ts';
import { topicsOf } from './topics.ts';
import type { Transport } from './transport/transport.ts';

const DIGEST_BYTES = 16;

export interface LedgerRangeOptions {
  readonly transport: Transport;
  readonly run: string;
  readonly plan: Plan;
  /** Whose records are kept. */
  readonly lanes: readonly number[];
  /** Steps from ≤ s < to. */
  readonly from: number;
  readonly to: number;
}

/** One lane's records. A step without one has 0 chunks. */
class LaneColumns {
  readonly offset: Float64Array;
  readonly end: Float64Array;
  readonly bytes: Float64Array;
  readonly chunks: Int32Array;
  readonly samples: Int32Array;
  /** Which of the run's few fingerprints. */
  readonly fingerprint: Uint16Array;
  readonly digest: Buffer;

  constructor(steps: number) {
    this.offset = new Float64Array(steps);
    this.end = new Float64Array(steps);
    this.bytes = new Float64Array(steps);
    this.chunks = new Int32Array(steps);
    this.samples = new Int32Array(steps);
    this.fingerprint = new Uint16Array(steps);
    this.digest = Buffer.alloc(DIGEST_BYTES * steps);
  }
}

export class LedgerRange {
  readonly #options: LedgerRangeOptions;
  readonly #columns: Map<number, LaneColumns>;
  readonly #fingerprints: string[] = [];
  /** By lane, of all lanes: its highest step. */
  readonly #highest: number[];

  private constructor(options: LedgerRangeOptions) {
    this.#options = options;
    const { plan, lanes, from, to } = options;
    this.#columns = new Map(lanes.map((lane) => [lane, new LaneColumns(to - from)]));
    this.#highest = Array.from({ length: plan.lanes }, () => -1);
  }

  /** @throws Fault `ledger-contradiction` where two records of a step have different digests */
  static async open(options: LedgerRangeOptions): Promise<LedgerRange> {
    const range = new LedgerRange(options);
    const { transport, run, plan } = options;
    const { ledger: topic } = topicsOf(run);
    const extents = await transport.ends(topic);
    const from = new Map(extents.map(({ begin }, lane) => [lane, begin]));
    const reader = await transport.read({ topic, from, maxBytes: 1_000_000 });
    try {
      for (let lane = 0; lane < plan.lanes; lane++) {
        const end = extents[lane]?.end ?? 0;
        for (let last = (extents[lane]?.begin ?? 0) - 1; last < end - 1; ) {
          const record = await reader.next(lane);
          if (!record) throw new Error(`the reader of ${topic} was closed`);
          last = record.offset;
          range.#add(lane, decodeLedger(record, lane));
          reader.release(record);
        }
      }
    } finally {
      await reader.close();
    }
    return range;
  }

  /** How many steps every lane of the run has. */
  get complete(): number {
    return Math.min(...this.#highest) + 1;
  }

  /** @throws Fault `step-not-produced` */
  get(step: number, lane: number): LedgerRecord {
    const found = this.#find(step, lane);
    if (found) return found;
    throw new Fault({
      code: 'step-not-produced',
      received: `step ${step} of lane ${lane}, of which the ledger has no record`,
      expected: `one of the ${this.complete} steps that every lane has so far`,
      remedy: 'wait for the producer, or ask for earlier steps',
    });
  }

  #find(step: number, lane: number): LedgerRecord | undefined {
    const { run, plan, from } = this.#options;
    const columns = this.#columns.get(lane);
    const i = step - from;
    if (!columns?.chunks[i]) return undefined;
    const { phase, epoch } = placeOf(plan, step);
    return {
      topic: topicsOf(run).train(phase.resolution),
      lane,
      step,
      epoch,
      offset: columns.offset[i] as number,
      end: columns.end[i] as number,
      chunks: columns.chunks[i] as number,
      samples: columns.samples[i] as number,
      bytes: columns.bytes[i] as number,
      digest: columns.digest.toString('hex', DIGEST_BYTES * i, DIGEST_BYTES * (i + 1)),
      fingerprint: this.#fingerprints[columns.fingerprint[i] as number] as string,
    };
  }

  #add(lane: number, record: LedgerRecord): void {
    const { from, to } = this.#options;
    const { step } = record;
    if (step > (this.#highest[lane] as number)) this.#highest[lane] = step;
    const columns = this.#columns.get(lane);
    if (!columns || step < from || step >= to) return;
    const before = this.#find(step, lane);
    if (before) checkAgrees(record, before);
    const i = step - from;
    columns.offset[i] = record.offset;
    columns.end[i] = record.end;
    columns.bytes[i] = record.bytes;
    columns.chunks[i] = record.chunks;
    columns.samples[i] = record.samples;
    columns.fingerprint[i] = this.#fingerprintIndex(record.fingerprint);
    columns.digest.write(record.digest, DIGEST_BYTES * i, DIGEST_BYTES, 'hex');
  }

  #fingerprintIndex(fingerprint: string): number {
    const known = this.#fingerprints.indexOf(fingerprint);
    return known < 0 ? this.#fingerprints.push(fingerprint) - 1 : known;
  }
}
