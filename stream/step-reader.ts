// A lane's step out of the log: first occurrences of its chunks where the ledger says they are, each checked.

import { Fault } from '#shards';
import { type LedgerRecord, type StepDigest, VAL_STEP } from './ledger.ts';
import { type RecordTensors, readRecord } from './record.ts';
import { TopicReaders } from './topic-readers.ts';
import { transportArgument } from './transport/index.ts';
import type { LogRecord, Reader, Transport } from './transport/transport.ts';

/** A chunk with its record's memory. */
export interface ReadChunk {
  /** The record, unchanged; `tensors` are views of it where alignment allows. */
  readonly bytes: Uint8Array;
  readonly tensors: RecordTensors;
  release(): void;
}

export interface StepReaderOptions {
  readonly transport: Transport;
  readonly run: string;
  readonly planHash: string;
  readonly lanes: readonly number[];
  /** What the ledger says of an entry's step by now, where that may be more than was known: the entry's copy is gone. */
  readonly newest?: (entry: LedgerRecord) => Promise<LedgerRecord>;
}

export interface StepReaderCounters {
  /** Records outside every ledger range: a paused owner's, half a step's, a second copy. */
  skipped: number;
  /** Seeks because the lane did not stand where the ledger says. */
  seeks: number;
  bytes: number;
}

export class StepReader {
  readonly counters: StepReaderCounters = { skipped: 0, seeks: 0, bytes: 0 };
  readonly #options: StepReaderOptions;
  readonly #readers: TopicReaders;
  /** TOPIC/LANE → a record that was asked for and has not come. */
  readonly #asked = new Map<string, Promise<LogRecord | null>>();

  constructor(options: StepReaderOptions) {
    this.#options = options;
    this.#readers = new TopicReaders(options.transport, options.lanes);
  }

  /** Opens a topic before its first step is read, so that its records are here by then. */
  openAhead(topic: string): void {
    void this.#readers.open(topic);
  }

  /** One topic's reader, or all. */
  close(topic?: string): Promise<void> {
    for (const lane of this.#options.lanes) if (topic !== undefined) this.#asked.delete(`${topic}/${lane}`);
    return this.#readers.close(topic);
  }

  /**
   * First occurrences of the step's chunks in [offset, end), in order. A producer appends them in order, so what stands
   * between them is skipped: a paused owner's records, or half a step's. Where a copy goes away while it is read, the newest
   * that the ledger knows takes its place. `digest` holds the step's when the generator has ended, and was compared with the
   * ledger's. After a Fault another step can be read.
   */
  async *read(named: LedgerRecord, digest: StepDigest): AsyncGenerator<ReadChunk> {
    const { topic, lane, step } = named;
    let entry = named;
    digest.begin();
    let found = 0;
    let read = 0;
    if (entry.chunks > 0) {
      const { reader, positions } = await this.#readers.open(topic).catch((error) => this.#inStep(entry, error));
      const seek = (offset: number) => {
        const position = positions.get(lane) ?? 0;
        reader.seek(lane, offset);
        positions.set(lane, offset);
        // The val split is read again at each evaluation: no seek to be told of.
        if (step === VAL_STEP) return;
        this.counters.seeks++;
        this.counters.skipped += Math.max(0, offset - position);
      };
      if (positions.get(lane) !== entry.offset) {
        entry = await this.#retained(entry);
        seek(entry.offset);
      }
      for (
        let position = entry.offset;
        position < entry.end && found < entry.chunks;
        position = positions.get(lane) ?? 0
      ) {
        const record = await this.#next(reader, topic, lane).catch((error) => this.#inStep(entry, error));
        if (record === null) throw new Error(`the reader of ${topic} was closed`);
        // What the ledger names is there: whoever waits for it, or gets what lies behind it, looks whether it still is.
        const copy = record === LATE || record.offset > position ? await this.#retained(entry) : entry;
        if (copy !== entry) {
          if (record !== LATE) reader.release(record);
          entry = copy;
          seek(entry.offset);
          continue;
        }
        if (record === LATE) continue;
        positions.set(lane, record.offset + 1);
        const { id, tensors } = this.#readIn(entry, record);
        if (id.plan !== this.#options.planHash)
          throw foreignPlan(entry, id.plan, this.#options.planHash, this.#remedy(entry));
        if (id.step !== step || id.lane !== lane || id.chunk !== found) {
          this.counters.skipped++;
          reader.release(record);
          continue;
        }
        digest.add(record.value);
        read += record.value.length;
        found++;
        yield { bytes: record.value, tensors, release: () => reader.release(record) };
      }
    }
    if (found !== entry.chunks) throw chunkMissing(entry, found, this.#remedy(entry));
    const bytes = digest.end();
    if (bytes !== entry.digest) throw digestDiffers(entry, bytes, this.#remedy(entry));
    this.counters.bytes += read;
  }

  /** The lane's next record; LATE where it takes long: then it is still to come, and the next call waits on for it. */
  async #next(reader: Reader, topic: string, lane: number): Promise<LogRecord | null | typeof LATE> {
    const key = `${topic}/${lane}`;
    const asked = this.#asked.get(key) ?? reader.next(lane);
    this.#asked.set(key, asked);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<typeof LATE>((resolve) => {
      timer = setTimeout(resolve, LATE_MS, LATE);
    });
    try {
      const record = await Promise.race([asked, late]);
      if (record !== LATE) this.#asked.delete(key);
      return record;
    } catch (error) {
      this.#asked.delete(key);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The entry, or the newest one of its step where the log no longer holds that. @throws Fault `step-expired` */
  async #retained(entry: LedgerRecord): Promise<LedgerRecord> {
    const { topic, lane, step } = entry;
    const { transport, newest = async () => entry } = this.#options;
    const extents = await transport.ends(topic).catch((error) => this.#inStep(entry, error));
    const { begin, end } = extents[lane] ?? { begin: 0, end: 0 };
    // A topic that was made anew may end below what the ledger says of the one before.
    const holds = (copy: LedgerRecord) => begin <= copy.offset && copy.end <= end;
    if (holds(entry)) return entry;
    const last = await newest(entry);
    if (last.offset !== entry.offset) return this.#retained(last);
    throw new Fault({
      code: 'step-expired',
      received: `${topic}, lane ${lane}: step ${step} at offsets [${entry.offset}, ${entry.end}) is gone; the log holds [${begin}, ${end})`,
      expected: 'a step that the log still holds',
      remedy: this.#remedy(entry),
    });
  }

  /** How the step is made again; the val split is written once a run. */
  #remedy({ step }: LedgerRecord): string {
    const { run, transport } = this.#options;
    return step === VAL_STEP
      ? 'produce the stream under another --run: it is the same to the byte, and a trainer resumes on it'
      : `regenerate it: stream produce --run ${run} ${transportArgument(transport)} --from-step ${step} --shards DIR`;
  }

  /** @throws Fault that tells how to make the step again, where the bytes are no record */
  #readIn(entry: LedgerRecord, { offset, value }: LogRecord): ReturnType<typeof readRecord> {
    try {
      return readRecord(value, `${where(entry)} at offset ${offset}`);
    } catch (error) {
      return this.#inStep(entry, error);
    }
  }

  /** A Fault of what is lost, damaged or deleted says which step has to be made again. @throws */
  #inStep(entry: LedgerRecord, error: unknown): never {
    if (!(error instanceof Fault) || !LOST.has(error.code)) throw error;
    const received = `${where(entry)}: ${error.received}`;
    throw new Fault({ ...error.toJSON(), received, remedy: this.#remedy(entry), cause: error });
  }
}

/** Codes of a record that is not there, or is not what was appended. */
const LOST = new Set([
  ...['record-lost', 'unknown-topic', 'offset-out-of-range'],
  ...['safetensors-damaged', 'record-format', 'record-incomplete'],
]);

const LATE = Symbol('late');
/** Far longer than any log takes for a record that it has, but in a crash. */
const LATE_MS = 2000;

const where = ({ topic, lane, step }: LedgerRecord) => `${topic}, lane ${lane}, step ${step}`;

function foreignPlan(entry: LedgerRecord, received: string, expected: string, remedy: string): Fault {
  return new Fault({
    code: 'foreign-plan',
    received: `${where(entry)}: a record of plan ${received}`,
    expected: `plan ${expected}`,
    remedy: `another run wrote into these topics, so give each its own name; or the bytes are damaged: ${remedy}`,
  });
}

function chunkMissing(entry: LedgerRecord, chunk: number, remedy: string): Fault {
  return new Fault({
    code: 'chunk-missing',
    received: `${where(entry)}: chunk ${chunk} is not in [${entry.offset}, ${entry.end})`,
    expected: `all ${entry.chunks} chunks, as the ledger says`,
    remedy: `the log lost acknowledged records; ${remedy}`,
  });
}

function digestDiffers(entry: LedgerRecord, digest: string, remedy: string): Fault {
  return new Fault({
    code: 'digest-mismatch',
    received: `${where(entry)}: bytes with digest ${digest}`,
    expected: `${entry.digest} (fingerprint ${entry.fingerprint})`,
    remedy: `the log's bytes are damaged; ${remedy}`,
  });
}
