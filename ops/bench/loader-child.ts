// A loader as a child process that lives through all rounds: a job as a line of JSON in, its answer as a line out.
// So nobody's start is timed, and contenders take turns on warm caches.

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Fault } from '#shards';
import type { LoaderSet } from './loader-sets.ts';

/** Milliseconds an image: of one worker, but `main`, the first thread's share. */
export interface Stages {
  readonly read: number;
  readonly decode: number;
  readonly kernel: number;
  readonly main: number;
}

/** What a case asks of everybody. */
export interface Augmentation {
  /** RandomResizedCrop: share of the area, and width over height. */
  readonly scale: readonly [number, number];
  readonly ratio: readonly [number, number];
  /** Probability of a flip. */
  readonly flip: number;
}

export interface LoaderJob extends Augmentation {
  /** Folder of the set. */
  readonly set: string;
  readonly samples: number;
  readonly files: LoaderSet['files'];
  readonly tars: LoaderSet['tars'];
  /** Side of the square output, px. */
  readonly output: number;
  /** How many to make; the set is gone through as often as that takes. */
  readonly images: number;
  readonly workers: number;
  /** A folder of this run for what a contender keeps. */
  readonly scratch: string;
  /** Add up the outputs; such a job warms up and is not timed. */
  readonly check: boolean;
  /** What one program makes of it, where it can do several things. */
  readonly task?: string;
}

export interface LoaderAnswer {
  readonly images: number;
  readonly seconds: number;
  /** Of all output bytes, where it was asked for. */
  readonly mean: number | null;
  /** Of what does the work, with its libraries. */
  readonly version: string;
  /** Ours only. */
  readonly stages?: Stages;
}

export interface MeasuredAnswer extends LoaderAnswer {
  /** CPU milliseconds an image of all its processes and threads; null where there is no /proc. */
  readonly cpuMs: number | null;
}

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** Of stderr, kept for the failure's reason. */
const TAIL = 4000;

export class LoaderChild {
  readonly #program: Program;
  readonly #child;
  readonly #kill: () => void;
  #stderr = '';
  #ended: number | string | null = null;
  #waiting: { resolve: (answer: LoaderAnswer) => void; reject: (error: unknown) => void } | null = null;

  constructor(program: Program) {
    this.#program = program;
    // A group of its own: Python's workers must go with their parent.
    this.#child = spawn(program.command, program.args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, ...program.env },
    });
    this.#kill = () => {
      try {
        if (this.#child.pid !== undefined) process.kill(-this.#child.pid, 'SIGKILL');
      } catch {
        // The group is gone already.
      }
    };
    process.once('exit', this.#kill);
    this.#child.stdin.on('error', () => {}); // one that dies early says so by its exit code
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-TAIL);
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#waiting?.resolve(JSON.parse(line) as LoaderAnswer);
      this.#waiting = null;
    });
    const over = (end: number | string): void => {
      this.#ended = end;
      this.#waiting?.reject(this.#failed());
      this.#waiting = null;
    };
    this.#child.once('error', (error) => over(error.message));
    this.#child.once('close', (code, signal) => over(code ?? signal ?? 'nothing'));
  }

  /** One job at a time. @throws Fault `contender-failed` with its last words, or the signal's reason */
  async ask(job: LoaderJob, signal: AbortSignal): Promise<MeasuredAnswer> {
    signal.throwIfAborted();
    if (this.#ended !== null) throw this.#failed();
    signal.addEventListener('abort', this.#kill);
    try {
      const before = this.#cpuSeconds();
      const answer = await new Promise<LoaderAnswer>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        this.#child.stdin.write(`${JSON.stringify(job)}\n`);
      });
      const after = this.#cpuSeconds();
      return { ...answer, cpuMs: before === null || after === null ? null : (1000 * (after - before)) / answer.images };
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', this.#kill);
    }
  }

  /** Ends it with all its processes: nothing of it is needed any more. */
  async close(): Promise<void> {
    process.off('exit', this.#kill);
    if (this.#ended === null) {
      const closed = new Promise((resolve) => this.#child.once('close', resolve));
      this.#kill();
      await closed;
    }
  }

  #cpuSeconds(): number | null {
    return this.#child.pid === undefined ? null : groupCpuSeconds(this.#child.pid);
  }

  #failed(): Fault {
    const lines = this.#stderr.trim().split('\n');
    // Python ends with its error; Node goes on with a stack, and maybe with what ended meanwhile.
    const reason = lines.find((line) => /^\w*(Error|Fault)\b/.test(line)) ?? lines.at(-1);
    return new Fault({
      code: 'contender-failed',
      received: `${[this.#program.command, ...this.#program.args].join(' ')} ended with ${this.#ended}: ${reason}`,
      expected: 'an answer to every job',
      remedy: 'see that what it needs is installed, then run it again',
    });
  }
}

/** CPU seconds so far of all processes of a group, and of those it has waited for; null where there is no /proc. */
export function groupCpuSeconds(group: number): number | null {
  let ticks = 0;
  try {
    for (const pid of readdirSync('/proc')) if (/^\d+$/.test(pid)) ticks += ticksOf(pid, group);
  } catch {
    return null;
  }
  return ticks / 100; // USER_HZ of every Linux that Node runs on
}

function ticksOf(pid: string, group: number): number {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return 0; // it ended meanwhile
  }
  // After the name in brackets: state, ppid, pgrp, …; utime, stime, cutime, cstime are the 12th to 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (Number(fields[2]) !== group) return 0;
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
}

/** The other end, for contenders that run on Node: answers each line of stdin. */
export async function serveJobs(answer: (job: LoaderJob) => Promise<LoaderAnswer>): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const answered = await answer(JSON.parse(line) as LoaderJob);
    process.stdout.write(`${JSON.stringify(answered)}\n`);
  }
}
