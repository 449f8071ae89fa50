// A soak: a broker behind a proxy, producers and readers as processes, faults from a seed, and every step compared with
// what it must be.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseRecipe } from '../../../stream/recipe.ts';
import type { TestBroker } from '../../broker.ts';
import { packPhotos, temporaryFolder } from '../../packed.ts';
import { type FaultyProxy, type ProxyCounts, startProxiedBroker } from '../proxy.ts';
import { Memory, type RoleMemory } from './memory.ts';
import type { ReaderOptions, ReadStep } from './reader.ts';
import { Reference } from './reference.ts';
import { type Fault, type Kind, schedule } from './schedule.ts';

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly producers: number;
  /** Divides LANES. */
  readonly readers: number;
  /** Steps a second that a reader takes at most. */
  readonly rate: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface SoakResult {
  readonly pass: boolean;
  readonly minutes: number;
  readonly seed: number;
  /** That every reader got, each once, in order. */
  readonly steps: number;
  /** Lane-steps that were compared. */
  readonly compared: number;
  /** Of these, those with other bytes. */
  readonly wrong: number;
  /** The longest time without a new step of the slowest reader, s. */
  readonly longestGapSeconds: number;
  readonly faults: Readonly<Record<Kind, number>>;
  /** Processes that found no broker when they began, gave up, and were started again. */
  readonly gaveUp: number;
  readonly proxy: ProxyCounts;
  /** Judged from JUDGED_MINUTES on. */
  readonly flat: boolean | null;
  readonly memory: readonly RoleMemory[];
  /** Why it did not pass. */
  readonly failures: readonly string[];
}

export const LANES = 4;
const BATCH = 32;
const RESOLUTION = 32;
/** Enough for days: the soak ends by its time. */
const EPOCHS = 10_000_000;
const RECIPE = `
name: soak
lanes: ${LANES}
phases:
  - { resolution: ${RESOLUTION}, epochs: ${EPOCHS}, batch: ${BATCH} }
optimizer: { lr: 0.1, weightDecay: 0 }
`;
const WINDOW_STEPS = 64;
const RUN = 'soak';
/** A broker that restarts on a busy machine, and a reader that was stopped meanwhile; beyond it something hangs. */
const HANG_MS = 90_000;
/** A process that begins while the broker is away gives up after 8 s; whoever looks after it starts it again. */
const GAVE_UP = /transport-unreachable|kafka-tls/;
/** For so long after a broker's return a process may still end of its absence. */
const RETURN_MS = 15_000;
/** Heaps need some minutes until they have their size. */
const JUDGED_MINUTES = 10;
/** After the last fault every reader has to come so many steps further. */
const SETTLED_STEPS = 20;

const STREAM = fileURLToPath(new URL('../../../stream/cli.js', import.meta.url));
const READER = fileURLToPath(new URL('./reader.js', import.meta.url));

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { seed, minutes, producers, readers } = options;
  const recipe = join(temporaryFolder(), 'soak.yaml');
  await writeFile(recipe, RECIPE);
  const shards = await packPhotos(`${RESOLUTION}:40`);
  const reference = await Reference.open(shards, parseRecipe((await import('yaml')).parse(RECIPE), 'the soak'));
  const { broker, proxy } = await startProxiedBroker();
  const running = new Soak(options, { broker, proxy, reference, shards, recipe });
  try {
    return await running.run(schedule({ seed, seconds: minutes * 60, producers, readers }));
  } finally {
    await running.end();
    await proxy.close();
    await broker.stop();
    await reference.close();
  }
}

interface Parts {
  readonly broker: TestBroker;
  readonly proxy: FaultyProxy;
  readonly reference: Reference;
  readonly shards: string;
  readonly recipe: string;
}

/** A process that is started again whenever it was killed. */
interface Role {
  readonly name: string;
  readonly start: () => ChildProcess;
  child: ChildProcess | null;
  /** Its end is ours. */
  killed: boolean;
}

class Soak {
  readonly #options: SoakOptions;
  readonly #parts: Parts;
  readonly #producers: readonly Role[];
  readonly #readers: readonly Role[];
  /** By reader: the next step. */
  readonly #next: number[];
  readonly #memory = new Memory();
  readonly #failures: string[] = [];
  readonly #done: Record<Kind, number>;
  #began = performance.now();
  /** By reader: its steps are compared one after the other. */
  readonly #comparing: Promise<void>[];
  #compared = 0;
  #wrong = 0;
  #progressed = performance.now();
  #longestGapMs = 0;
  #ending = false;
  #gaveUp = 0;
  /** Until when a process may end because there is no broker. */
  #awayUntil = 0;

  constructor(options: SoakOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    const kinds = ['kill-producer', 'stop-producer', 'kill-reader', 'stop-reader', 'kill-broker'] as const;
    const others = ['cut-all', 'break-some', 'stall'] as const;
    this.#done = Object.fromEntries([...kinds, ...others].map((kind) => [kind, 0])) as Record<Kind, number>;
    this.#next = Array.from({ length: options.readers }, () => 0);
    this.#comparing = this.#next.map(() => Promise.resolve());
    const role = (name: string, start: () => ChildProcess): Role => ({ name, start, child: null, killed: false });
    this.#producers = Array.from({ length: options.producers }, (_, i) =>
      role(`producer ${i}`, () => this.#startProducer()),
    );
    this.#readers = this.#next.map((_, rank) => role(`reader ${rank}`, () => this.#startReader(rank)));
  }

  async run(faults: readonly Fault[]): Promise<SoakResult> {
    const { minutes, seed, signal, say } = this.#options;
    for (const role of [...this.#producers, ...this.#readers]) this.#start(role);
    const sampling = setInterval(() => this.#look(), 1000);
    try {
      // Each reader is known from its first step on: nothing that it wants is deleted when it dies.
      while (!this.#over && Math.min(...this.#next) === 0) await sleep(50);
      this.#began = performance.now();
      for (const fault of faults) {
        await this.#until(fault.at * 1000);
        if (this.#over) break;
        say(
          `${fault.at.toFixed(1)} s: ${fault.kind} ${fault.which}${/stop|stall/.test(fault.kind) ? ` for ${fault.seconds.toFixed(1)} s` : ''}`,
        );
        await this.#inflict(fault);
        this.#done[fault.kind]++;
      }
      await this.#until(minutes * 60_000);
      const goal = Math.max(...this.#next) + SETTLED_STEPS;
      while (!this.#over && Math.min(...this.#next) < goal) await sleep(100);
      await Promise.all(this.#comparing);
    } finally {
      clearInterval(sampling);
    }
    if (signal.aborted) this.#failures.push('it was interrupted');
    const memory = this.#memory.judge(this.#began, performance.now());
    const flat = minutes >= JUDGED_MINUTES ? memory.every((role) => role.flat !== false) : null;
    return {
      pass: this.#failures.length === 0 && this.#wrong === 0 && flat !== false,
      minutes: (performance.now() - this.#began) / 60_000,
      seed,
      steps: Math.min(...this.#next),
      compared: this.#compared,
      wrong: this.#wrong,
      longestGapSeconds: this.#longestGapMs / 1000,
      faults: this.#done,
      gaveUp: this.#gaveUp,
      proxy: this.#parts.proxy.counts,
      flat,
      memory,
      failures: this.#failures,
    };
  }

  /** Ends every process. */
  async end(): Promise<void> {
    this.#ending = true;
    for (const { child } of [...this.#producers, ...this.#readers]) {
      if (child === null || child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'close');
    }
  }

  /** Nothing that comes now can make it pass. */
  get #over(): boolean {
    return this.#options.signal.aborted || this.#failures.length > 0;
  }

  async #until(ms: number): Promise<void> {
    while (!this.#over && performance.now() - this.#began < ms) await sleep(50);
  }

  /** Once a second: memory, and whether anything moves. */
  #look(): void {
    const now = performance.now();
    const gap = now - this.#progressed;
    this.#longestGapMs = Math.max(this.#longestGapMs, gap);
    if (gap > HANG_MS) this.#failures.push(`no step for ${HANG_MS / 1000} s after step ${Math.min(...this.#next)}`);
    for (const { name, child } of [...this.#producers, ...this.#readers]) this.#memory.sample(name, child?.pid);
    this.#memory.sample('broker', this.#parts.broker.pid);
    this.#memory.sample('the soak itself', process.pid);
  }

  async #inflict({ kind, which, seconds }: Fault): Promise<void> {
    const { broker, proxy } = this.#parts;
    if (kind === 'kill-producer') await this.#kill(this.#producers[which]);
    else if (kind === 'kill-reader') await this.#kill(this.#readers[which]);
    else if (kind === 'stop-producer') await this.#stop(this.#producers[which], seconds);
    else if (kind === 'stop-reader') await this.#stop(this.#readers[which], seconds);
    else if (kind === 'cut-all') proxy.cutAll();
    else if (kind === 'break-some')
      proxy.arm({ seed: which, oneIn: 10, limits: { requests: 3, acknowledgements: 4, answers: 3 } });
    else if (kind === 'stall') await proxy.stall(seconds * 1000);
    else {
      this.#awayUntil = Number.POSITIVE_INFINITY;
      await broker.crash();
      await broker.restart();
      this.#awayUntil = performance.now() + RETURN_MS;
    }
  }

  #start(role: Role): void {
    const child = role.start();
    role.child = child;
    role.killed = false;
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2000);
    });
    child.once('close', (code, signal) => {
      if (role.killed || this.#ending) return;
      if (code === 1 && GAVE_UP.test(said) && performance.now() < this.#awayUntil) {
        this.#gaveUp++;
        this.#options.say(`${role.name} found no broker and is started again`);
        this.#memory.restarted(role.name);
        this.#start(role);
        return;
      }
      this.#failures.push(
        `${role.name} ended by itself with ${code ?? signal}: ${said.trim().split('\n').slice(-5).join(' | ')}`,
      );
    });
  }

  async #kill(role: Role | undefined): Promise<void> {
    if (!role?.child) return;
    role.killed = true;
    const closed = once(role.child, 'close');
    role.child.kill('SIGKILL');
    await closed;
    if (this.#over) return;
    this.#memory.restarted(role.name);
    this.#start(role);
  }

  async #stop(role: Role | undefined, seconds: number): Promise<void> {
    if (!role?.child) return;
    role.child.kill('SIGSTOP');
    await sleep(seconds * 1000);
    role.child.kill('SIGCONT');
  }

  #startProducer(): ChildProcess {
    const { proxy, shards, recipe } = this.#parts;
    const window = String(WINDOW_STEPS * BATCH * RESOLUTION * RESOLUTION * 3);
    const target = ['--run', RUN, '--transport', proxy.url, '--shards', shards, '--recipe', recipe];
    const args = [STREAM, 'produce', ...target, '--workers', '1', '--window', window];
    return spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  }

  #startReader(rank: number): ChildProcess {
    const { readers, rate } = this.#options;
    const options: ReaderOptions = {
      transport: this.#parts.proxy.url,
      run: RUN,
      rank,
      lanes: Array.from({ length: LANES / readers }, (_, i) => (rank * LANES) / readers + i),
      fromStep: this.#next[rank] ?? 0,
      rate,
    };
    const child = spawn(process.execPath, [READER, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'pipe'] });
    let step = options.fromStep;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const read = parse(line);
      // The last line of a reader that was killed may be half of one.
      if (read === null) return;
      if (read.step !== step) this.#failures.push(`reader ${rank} brought step ${read.step} where ${step} was due`);
      step++;
      this.#next[rank] = step;
      if (Math.min(...this.#next) === step) this.#progressed = performance.now();
      this.#comparing[rank] = (this.#comparing[rank] ?? Promise.resolve()).then(() =>
        this.#compare(options.lanes, read),
      );
    });
    return child;
  }

  async #compare(lanes: readonly number[], { step, contents }: ReadStep): Promise<void> {
    for (const [index, lane] of lanes.entries()) {
      const expected = await this.#parts.reference.content(step, lane);
      this.#compared++;
      if (contents[index] === expected) continue;
      this.#wrong++;
      this.#options.say(`WRONG: step ${step}, lane ${lane}: ${contents[index]} instead of ${expected}`);
    }
  }
}

function parse(line: string): ReadStep | null {
  try {
    return JSON.parse(line) as ReadStep;
  } catch {
    return null;
  }
}
