// Reports of progress beside the steps: producers wait for them, so a report that fails ends the run.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '#shards';

/** How often a step is reported at most, ms. */
const EVERY_MS = 1000;
/** How soon a trainer that begins to wait says so, ms. */
const LOOK_MS = 20;

export interface ReportingOptions {
  /** Whose `step` is reported: the number of steps done. */
  readonly state: { readonly step: number };
  /** While the trainer waits, a producer may be waiting for its report: then there is no delay. */
  readonly feed: { readonly waiting: boolean };
  readonly write: (step: number) => Promise<void>;
}

export class Reporting {
  readonly #options: ReportingOptions;
  readonly #failure = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #reported: number;
  #at = performance.now();
  #writing: Promise<void> | null = null;

  /** Begins after a report of the state's present step. */
  constructor(options: ReportingOptions) {
    this.#options = options;
    this.#reported = options.state.step;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Aborted when a report fails, with its error as the reason. */
  get failure(): AbortSignal {
    return this.#failure.signal;
  }

  /** Ends the reports without waiting for one under way. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Ends the reports once the last is written. Rejects with the error of one that failed. */
  async finish(): Promise<void> {
    this.stop();
    await this.#writing;
    this.failure.throwIfAborted();
  }

  #look(): void {
    const { state, feed } = this.#options;
    const now = performance.now();
    if (this.#writing || state.step === this.#reported || (!feed.waiting && now - this.#at < EVERY_MS)) return;
    this.#reported = state.step;
    this.#at = now;
    this.#writing = this.#write(state.step);
  }

  async #write(step: number): Promise<void> {
    try {
      await this.#options.write(step);
    } catch (error) {
      this.stop();
      this.#failure.abort(error);
    } finally {
      this.#writing = null;
    }
  }
}

/** Who this trainer is in RUN.progress: kept in OUT, so that a restarted one takes up its own entry. */
export async function trainerId(out: string): Promise<string> {
  const file = join(out, 'trainer-id');
  const known = await readFile(file, 'utf8').catch(() => '');
  if (known.trim() !== '') return known.trim();
  const id = randomUUID();
  await writeFileDurably(file, `${id}\n`);
  return id;
}
