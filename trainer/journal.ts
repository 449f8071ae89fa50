// The journal: OUT/journal.jsonl, one JSON object a line and step, appended as the steps are done.

import { createReadStream } from 'node:fs';
import { type FileHandle, open, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '#shards';

export interface JournalEntry {
  readonly step: number;
  readonly epoch: number;
  /** Index of the phase. */
  readonly phase: number;
  readonly resolution: number;
  readonly loss: number;
  readonly lr: number;
  /** Images of the step. */
  readonly samples: number;
  /** Milliseconds that the trainer waited for data. */
  readonly waitMs: number;
  /** ‖g‖₂ of the step's gradient before it was clipped; only where the recipe clips. */
  readonly unclippedNorm?: number;
}

export class Journal {
  readonly #handle: FileHandle;
  /** The last step that the journal held when it was opened; −1 where it held none. */
  readonly lastStep: number;

  private constructor(handle: FileHandle, lastStep: number) {
    this.#handle = handle;
    this.lastStep = lastStep;
  }

  /**
   * Opens OUT's journal for a run that goes on at `step`: lines of that step or later are cut off, and so is a last
   * line that a crash left torn; the steps are done again. `onKept` is told of every line that stays.
   */
  static async open(out: string, step: number, onKept: (entry: JournalEntry) => void = () => {}): Promise<Journal> {
    const path = join(out, 'journal.jsonl');
    const handle = await open(path, 'a');
    let lastStep = -1;
    const keep = (entry: JournalEntry) => {
      lastStep = entry.step;
      onKept(entry);
    };
    try {
      await truncate(path, await bytesBefore(path, step, keep));
    } catch (error) {
      await handle.close();
      throw error;
    }
    return new Journal(handle, lastStep);
  }

  /** One line in one write, so that a killed process leaves whole lines but the last. */
  async append(entry: JournalEntry): Promise<void> {
    await this.#handle.appendFile(`${JSON.stringify(entry)}\n`);
  }

  /** Makes the lines durable; before a checkpoint is written, so that no checkpoint is ahead of its journal. */
  async sync(): Promise<void> {
    await this.#handle.datasync();
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** How many bytes the whole lines of steps before `step` take; reads in pieces, as a long run's journal is large. */
async function bytesBefore(path: string, step: number, onKept: (entry: JournalEntry) => void): Promise<number> {
  let kept = 0;
  let line = 0;
  let rest = Buffer.alloc(0);
  for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, piece]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      line++;
      const entry = parseEntry(rest.toString('utf8', 0, end), path, line);
      if (entry.step >= step) return kept;
      onKept(entry);
      kept += end + 1;
      rest = rest.subarray(end + 1);
    }
  }
  return kept;
}

function parseEntry(text: string, path: string, line: number): JournalEntry {
  try {
    const entry = JSON.parse(text) as JournalEntry;
    if (typeof entry.step === 'number') return entry;
  } catch {
    // Told below, with the line.
  }
  throw new Fault({
    code: 'journal-damaged',
    received: `${path} line ${line}: ${text.slice(0, 60)}`,
    expected: 'a JSON object with a step',
    remedy: 'delete this line and those after it, then resume',
  });
}
