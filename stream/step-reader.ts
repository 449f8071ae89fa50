// A lane's step out of the log: first occurrences of its chunks where the ledger says they are, each checked.

import { Fault } from '#shards';
import { type LedgerRecord, type StepDigest, VAL_STEP } from './ledger.ts';
import { type RecordTensors, readRecord } from './record.ts';
import { TopicReaders } from './topic-readers.ts';
import type { LogRecord, Transport } from './transport/transport.ts';

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
    return this.#readers.close(topic);
  }

  /**
   * First occurrences of the step's chunks in [offset, end), in order. A producer appends them in order, so what stands
   * between them is skipped: a paused owner's records, or half a step's. `digest` holds the step's when the generator has
   * ended, and was compared with the ledger's. After a Fault another step can be read.
   */
  async *read(entry: LedgerRecord, digest: StepDigest): AsyncGenerator<ReadChunk> {
    const { topic, lane, step } = entry;
    digest.begin();
    let found = 0;
    let read = 0;
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
      while (position < entry.end && found < entry.chunks) {
        const record = await reader.next(lane).catch((error: unknown) => Promise.reject(inStep(entry, error)));
        if (!record) throw new Error(`the reader of ${topic} was closed`);
        if (record.offset > position) await this.#checkRetained(entry);
        position = record.offset + 1;
        positions.set(lane, position);
        const { id, tensors } = readIn(entry, record);
        if (id.plan !== this.#options.planHash) throw foreignPlan(entry, id.plan, this.#options.planHash);
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
    if (found !== entry.chunks) throw chunkMissing(entry, found);
    const bytes = digest.end();
    if (bytes !== entry.digest) throw digestDiffers(entry, bytes);
    this.counters.bytes += read;
  }

  async #checkRetained(entry: LedgerRecord): Promise<void> {
    const extent = (await this.#options.transport.ends(entry.topic))[entry.lane];
    if (extent && extent.begin <= entry.offset) return;
    const { run, transport } = this.#options;
    throw new Fault({
      code: 'step-expired',
      received: `${entry.topic}, lane ${entry.lane}: step ${entry.step} at offset ${entry.offset} is gone; the log begins at ${extent?.begin}`,
      expected: 'a step that the log still holds',
      remedy: `regenerate it: stream produce --run ${run} --transport ${transport.url} --from-step ${entry.step} --shards DIR`,
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

/** What is said of a record whose bytes are not those that were appended, or that the log no longer has. */
const DAMAGE: readonly string[] = [
  'record-lost',
  'offset-out-of-range',
  'safetensors-damaged',
  'record-format',
  'record-incomplete',
];

/** A Fault of bytes that are lost or damaged says which step has to be made again. */
function inStep(entry: LedgerRecord, error: unknown): unknown {
  if (!(error instanceof Fault) || !DAMAGE.includes(error.code)) return error;
  const remedy = `bytes of the log are lost or damaged; regenerate with stream produce --from-step ${entry.step}`;
  return new Fault({ ...error.toJSON(), remedy, cause: error });
}

const where = ({ topic, lane, step }: LedgerRecord) => `${topic}, lane ${lane}, step ${step}`;

function foreignPlan(entry: LedgerRecord, received: string, expected: string): Fault {
  return new Fault({
    code: 'foreign-plan',
    received: `${where(entry)}: a record of plan ${received}`,
    expected: `plan ${expected}`,
    remedy: `another run wrote into these topics, so give each its own name; or the bytes are damaged, then regenerate with stream produce --from-step ${entry.step}`,
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
