// Prints how packing goes: one line that is rewritten on a terminal, else a plain line every ten seconds.

import type { PackProgress } from './pack.ts';

/** Milliseconds between two lines. */
const TERMINAL_MS = 250;
const PLAIN_MS = 10_000;

export interface ProgressSink {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** `now` in milliseconds. The last source is always told. */
export function progressPrinter(sink: ProgressSink, now: () => number): (progress: PackProgress) => void {
  const started = now();
  const terminal = sink.isTTY === true;
  let told = started;
  return (progress) => {
    const at = now();
    const last = progress.done === progress.sources;
    if (!last && at - told < (terminal ? TERMINAL_MS : PLAIN_MS)) return;
    told = at;
    const line = progressLine(progress, (at - started) / 1000);
    // Carriage return, the line, and "erase to the end of the line".
    sink.write(terminal ? `\r${line}\x1b[K${last ? '\n' : ''}` : `${line}\n`);
  };
}

export function progressLine({ split, done, sources, sourceBytes, rejects }: PackProgress, seconds: number): string {
  const rate = (amount: number): string => (seconds > 0 ? (amount / seconds).toFixed(1) : '–');
  return `${split} ${done}/${sources} images, ${rate(done)} images/s, ${rate(sourceBytes / 1e6)} MB/s, ${rejects} rejects`;
}
