// RUN.progress: how far each trainer rank is. The window holds producers back by it, and nothing it needs is deleted.
//
//   record := canonical JSON {trainer, rank, consumedStep, checkpointStep} or {trainer, rank, forgotten: true},
//             under the key TRAINER/RANK, compacted

import { canonicalJson } from '#shards';
import { topicsOf } from './topics.ts';
import type { Reader, Transport } from './transport/transport.ts';

export interface TrainerProgress {
  readonly trainer: string;
  readonly rank: number;
  /** The last step that was trained on; −1 before the first. */
  readonly consumedStep: number;
  /** The step that the newest checkpoint resumes at. */
  readonly checkpointStep: number;
}

type ProgressRecord = TrainerProgress | { readonly trainer: string; readonly rank: number; readonly forgotten: true };

const keyOf = ({ trainer, rank }: ProgressRecord) => `${trainer}/${rank}`;

async function write(transport: Transport, run: string, record: ProgressRecord): Promise<void> {
  await transport.append(topicsOf(run).progress, 0, Buffer.from(canonicalJson(record)), keyOf(record));
}

export function reportProgress(transport: Transport, run: string, progress: TrainerProgress): Promise<void> {
  return write(transport, run, progress);
}

/** Follows all trainers of a run. */
export class ProgressWatch {
  readonly #transport: Transport;
  readonly #run: string;
  readonly #reader: Reader;
  readonly #trainers = new Map<string, { readonly progress: TrainerProgress; readonly offset: number }>();
  /** The topic's end when this watch began. */
  readonly #begun: number;
  #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #failure: unknown = null;
  #read = 0;
  readonly #following: Promise<void>;

  private constructor(transport: Transport, run: string, reader: Reader, begun: number) {
    this.#begun = begun;
    this.#transport = transport;
    this.#run = run;
    this.#reader = reader;
    this.#following = this.#follow();
  }

  /** Resolves when what the topic holds now is known. */
  static async open(transport: Transport, run: string): Promise<ProgressWatch> {
    const { progress } = topicsOf(run);
    const [extent] = await transport.ends(progress);
    const from = new Map([[0, extent?.begin ?? 0]]);
    const reader = await transport.read({ topic: progress, from, maxBytes: 1_000_000 });
    const watch = new ProgressWatch(transport, run, reader, extent?.end ?? 0);
    while (watch.#read < watch.#begun) await watch.changed();
    return watch;
  }

  get trainers(): readonly TrainerProgress[] {
    return [...this.#trainers.values()].map(({ progress }) => progress);
  }

  /** Those that reported since this watch began: they live. */
  get reporting(): readonly TrainerProgress[] {
    return [...this.#trainers.values()].flatMap(({ progress, offset }) => (offset >= this.#begun ? [progress] : []));
  }

  /** Resolves at the next change; rejects when the log can no longer be read. */
  changed(): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Lets go of every rank of a trainer that will not come back. True if there was one. */
  async forget(trainer: string): Promise<boolean> {
    const ranks = this.trainers.filter((known) => known.trainer === trainer);
    for (const { rank } of ranks) await write(this.#transport, this.#run, { trainer, rank, forgotten: true });
    for (const known of ranks) this.#trainers.delete(keyOf(known));
    return ranks.length > 0;
  }

  async close(): Promise<void> {
    await this.#reader.close();
    await this.#following;
  }

  async #follow(): Promise<void> {
    try {
      for (let record = await this.#reader.next(0); record; record = await this.#reader.next(0)) {
        const progress = JSON.parse(record.value.toString('utf8')) as ProgressRecord;
        if ('forgotten' in progress) this.#trainers.delete(keyOf(progress));
        else this.#trainers.set(keyOf(progress), { progress, offset: record.offset });
        this.#read = record.offset + 1;
        for (const { resolve } of this.#waiting.splice(0)) resolve();
      }
    } catch (error) {
      this.#failure = error;
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    }
  }
}
