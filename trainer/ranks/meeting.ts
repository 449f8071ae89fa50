// Where ranks meet: each says a word, all hear every word, and all come to the same conclusion, or end with the same Fault.
//
// Words are said in rounds. A rank that is not ready says so every few milliseconds, so that those that are ready hear
// at once when it was told to stop, or has failed: nobody waits for a rank that will not come.

import { Fault } from '#shards';
import { firstDifference, untilAborted } from '#stream';
import type { Collective } from './collective.ts';

export interface Word {
  /** What must be the same at all ranks. */
  readonly agree: Readonly<Record<string, unknown>>;
  /** What the others want to know of this rank. */
  readonly tell?: Readonly<Record<string, unknown>>;
}

type Said =
  | (Word & { readonly kind: 'ready' })
  | { readonly kind: 'waiting' | 'stop' | 'end' }
  | { readonly kind: 'failed'; readonly code: string; readonly received: string };

/** Bytes of a word in JSON, padded with spaces. */
const WORD_BYTES = 4096;
/** Only so much is told of a failure: the rank that failed tells the rest itself. */
const RECEIVED_CHARACTERS = 300;
/** How often a rank that waits says so, ms. */
const ROUND_MS = 50;

export class Meeting {
  readonly #collective: Collective;
  readonly #own = Buffer.alloc(WORD_BYTES);
  readonly #all: Buffer;
  /** The ranks know that they end with a Fault. */
  #over = false;
  #stopped = false;
  #waiting = false;
  #absent: readonly number[] = [];

  constructor(collective: Collective) {
    this.#collective = collective;
    this.#all = Buffer.alloc(WORD_BYTES * collective.ranks);
  }

  /** Whether some rank was told to stop, which all know. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Whether this rank waits for a meeting's end. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /** The ranks that the others wait for. */
  get absent(): readonly number[] {
    return this.#absent;
  }

  /** Does the work, tells the other ranks if it fails, and ends when all ranks have ended theirs. */
  async through<Value>(work: () => Promise<Value>): Promise<Value> {
    const [outcome] = await Promise.allSettled([work()]);
    if (this.#collective.ranks > 1) {
      if (outcome.status === 'rejected' && !this.#over) await this.#round(failure(outcome.reason));
      while (!(await this.#round({ kind: 'end' })).every(({ kind }) => kind === 'end'));
    }
    this.#collective.end();
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  }

  /**
   * Waits until every rank has its word. All words in rank order; null at every rank once one's signal is aborted.
   * @throws what `word` rejects with; Fault `ranks-disagree`, `rank-failed`
   */
  async meet(word: Promise<Word>, signal: AbortSignal): Promise<readonly Word[] | null> {
    this.#waiting = true;
    try {
      return await (this.#collective.ranks > 1 ? this.#meet(word, signal) : this.#alone(word, signal));
    } finally {
      this.#waiting = false;
      this.#absent = [];
    }
  }

  /** Inside a step, where all ranks are ready or nearly: holds the thread. */
  meetNow(word: Word): void {
    this.#conclude(this.#roundNow({ ...word, kind: 'ready' }));
  }

  /** Does what the ranks meet after with `meetNow`: if it fails here, the others hear of it there. */
  telling<Value>(work: () => Value): Value {
    try {
      return work();
    } catch (error) {
      if (this.#collective.ranks > 1) this.#roundNow(failure(error));
      throw error;
    }
  }

  async #alone(word: Promise<Word>, signal: AbortSignal): Promise<readonly Word[] | null> {
    const own = await untilAborted(word, signal);
    this.#stopped = own === null;
    return own && [own];
  }

  async #meet(word: Promise<Word>, signal: AbortSignal): Promise<readonly Word[] | null> {
    const own: { word?: Word; failed?: { error: unknown }; wake(): void } = { wake: () => {} };
    const settled = (outcome: { word: Word } | { failed: { error: unknown } }) => {
      Object.assign(own, outcome);
      own.wake();
    };
    // Once, not each round: a promise keeps every listener until it is settled, which may be hours.
    word.then(
      (value) => settled({ word: value }),
      (error: unknown) => settled({ failed: { error } }),
    );
    const onAbort = () => own.wake();
    signal.addEventListener('abort', onAbort);
    try {
      for (;;) {
        if (!own.word && !own.failed && !signal.aborted)
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, ROUND_MS);
            own.wake = () => {
              clearTimeout(timer);
              resolve();
            };
          });
        if (own.failed) throw own.failed.error;
        const heard = await this.#round(standing(own.word, signal));
        const words = this.#conclude(heard);
        if (words || heard.some(({ kind }) => kind === 'stop')) return words;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #round(own: Said): Promise<Said[]> {
    this.#write(own);
    await this.#collective.gatherLater(this.#own, this.#all);
    return this.#heard();
  }

  #roundNow(own: Said): Said[] {
    this.#write(own);
    this.#collective.gather(this.#own, this.#all);
    return this.#heard();
  }

  #write(own: Said): void {
    const text = JSON.stringify(own);
    if (Buffer.byteLength(text) > WORD_BYTES) throw new Error(`a word too long for a meeting: ${text}`);
    this.#own.fill(' ');
    this.#own.write(text);
  }

  #heard(): Said[] {
    const words = Array.from({ length: this.#collective.ranks }, (_, rank) => {
      const text = this.#all.toString('utf8', rank * WORD_BYTES, (rank + 1) * WORD_BYTES);
      return JSON.parse(text) as Said;
    });
    this.#over ||= words.some(({ kind }) => kind === 'failed');
    return words;
  }

  /** Every rank's word; null where they meet once more, or stop. All ranks hear the same, so all conclude the same. */
  #conclude(heard: readonly Said[]): Word[] | null {
    const words: Word[] = [];
    this.#absent = heard.flatMap(({ kind }, rank) => (kind === 'waiting' ? [rank] : []));
    for (const [rank, said] of heard.entries()) {
      if (said.kind === 'failed') throw rankFailed(rank, said);
      if (said.kind === 'end') throw this.#disagreement(`rank ${rank} at its end`, 'every rank in the same step');
      if (said.kind === 'stop') this.#stopped = true;
      if (said.kind === 'ready') words.push(said);
    }
    if (words.length < heard.length) return null;
    for (const [rank, { agree }] of words.entries()) {
      const differing = firstDifference(agree, words[0]?.agree);
      if (differing)
        throw this.#disagreement(
          `rank ${rank}: ${differing.key} = ${differing.ours}`,
          `${differing.theirs}, as rank 0 has it`,
        );
    }
    return words;
  }

  #disagreement(received: string, expected: string): Fault {
    this.#over = true;
    return new Fault({
      code: 'ranks-disagree',
      received,
      expected,
      remedy: 'start all ranks by one mpirun with the same command, version and environment',
    });
  }
}

function standing(word: Word | undefined, signal: AbortSignal): Said {
  if (signal.aborted) return { kind: 'stop' };
  return word ? { ...word, kind: 'ready' } : { kind: 'waiting' };
}

function failure(error: unknown): Said {
  const { code, received } =
    error instanceof Fault ? error : { code: 'defect', received: error instanceof Error ? error.message : `${error}` };
  return { kind: 'failed', code, received: received.slice(0, RECEIVED_CHARACTERS) };
}

function rankFailed(rank: number, { code, received }: { readonly code: string; readonly received: string }): Fault {
  return new Fault({
    code: 'rank-failed',
    received: `rank ${rank} ended with ${code}: ${received}`,
    expected: 'all ranks to the end of the plan',
    remedy: `do what rank ${rank}'s own message says, then start all ranks again with --resume`,
  });
}
