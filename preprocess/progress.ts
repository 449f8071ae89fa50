// Prints how packing goes: one line that is rewritten on a terminal, else a plain line every ten seconds.

/** Of this run; sources that an earlier run has packed are not among them. */
export interface Progress {
  readonly done: number;
  /** All that this run has to do. */
  readonly sources: number;
  /** Of the sources done. */
  readonly sourceBytes: number;
  /** Of earlier runs, too. */
  readonly rejects: number;
}

/** Milliseconds between two lines. */
const TERMINAL_MS = 250;
const PLAIN_MS = 10_000;

export interface ProgressSink {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** `now` in milliseconds. The last source is always told. */
export function progressPrinter(sink: ProgressSink, now: () => number): (progress: Progress) => void {
  const print = linePrinter(sink, now);
  return (progress) =>
    print((seconds) => progressLine(progress, seconds), { last: progress.done === progress.sources });
}

/** Gets a line for the seconds since the beginning, as often as one is due; the last one is always told. */
export function linePrinter(
  sink: ProgressSink,
  now: () => number,
): (line: (seconds: number) => string, when: { readonly last: boolean }) => void {
  const started = now();
  const terminal = sink.isTTY === true;
  let told = started;
  return (line, { last }) => {
    const at = now();
    if (!last && at - told < (terminal ? TERMINAL_MS : PLAIN_MS)) return;
    told = at;
    const text = line((at - started) / 1000);
    // Carriage return, the line, and "erase to the end of the line".
    sink.write(terminal ? `\r${text}\x1b[K${last ? '\n' : ''}` : `${text}\n`);
  };
}

export function progressLine({ done, sources, sourceBytes, rejects }: Progress, seconds: number): string {
  const rate = (amount: number): string => (seconds > 0 ? (amount / seconds).toFixed(1) : '–');
  const eta = done > 0 ? duration(((sources - done) * seconds) / done) : '–';
  return `${done}/${sources} images, ${rate(done)} images/s, ${rate(sourceBytes / 1e6)} MB/s, ETA ${eta}, ${rejects} rejects`;
}

/** `7 s`, `3 min 20 s`, `2 h 05 min` */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number): string => String(value).padStart(2, '0');
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}
