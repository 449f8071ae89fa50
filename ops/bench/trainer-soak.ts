// `ops bench trainer-soak`: a real training over thousands of steps, SAM, evaluations and checkpoints with it. Its tensors,
// handles and memory stay flat.

import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { consume, loadBackend } from '#trainer';
import { runCommand, startCommand } from '../quickstart/commands.ts';
import { packageRoot } from '../setup/plain.ts';
import { machineLine } from './loader-report.ts';
import { type Machine, machine } from './machine.ts';
import { median } from './preprocess.ts';

export interface TrainerSoakOptions {
  /** A multiple of 100: the photos make 10 steps an epoch, and each tenth is whole epochs. */
  readonly steps: number;
  readonly backend: string;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Some steps on end; each figure was taken after every step. */
export interface TrainerTenth {
  /** Steps [from, to). */
  readonly from: number;
  readonly to: number;
  /** Fewest and most tensors that the library holds. */
  readonly tensors: readonly [number, number];
  /** What keeps the event loop alive (timers, ports, requests): fewest and most. */
  readonly handles: readonly [number, number];
  /** Open files, sockets and pipes of the process, but the log's segments: fewest and most; null where nobody tells. */
  readonly files: readonly [number, number] | null;
  /** Resident memory of the process, MB of 10^6 bytes: median and most. */
  readonly rssMb: number;
  readonly peakMb: number;
}

export interface TrainerSoakResult {
  readonly machine: Machine;
  readonly backend: string;
  readonly steps: number;
  readonly seconds: number;
  readonly tenths: readonly TrainerTenth[];
  /** How much higher the median of the last tenth's memory is than the fourth's, MB: until then heaps grow to their bounds. */
  readonly grownMb: number;
  /**
   * One number of tensors all along; handles and files come back in every tenth to what the first three had at most, as
   * what leaks never would; memory within FLAT.
   */
  readonly flat: { readonly tensors: boolean; readonly handles: boolean; readonly memory: boolean };
}

/** The last tenth's memory may be above the fourth's by so much. */
export const FLAT = { share: 0.05, mb: 10 };
/** The first tenths, in which everything is met for the first time. */
const WARM = 3;
/** Steps an epoch: 84 photos in batches of 8. */
const EPOCH = 10;
const RUN = 'trainer-soak';

/** Sizes change once, and FixRes comes at the end. */
const recipeOf = (steps: number) => {
  const epochs = steps / EPOCH;
  const [first, last] = [Math.floor(0.45 * epochs), Math.max(1, Math.floor(0.1 * epochs))];
  return `
name: ${RUN}
lanes: 2
groups: 2
phases:
  - { resolution: 32, epochs: ${first}, batch: 8 }
  - { resolution: 40, epochs: ${epochs - first - last}, batch: 8 }
  - { resolution: 40, epochs: ${last}, batch: 8, fixres: { lr: 0.01, lrPerBatch: 8 } }
model: { layers: [1, 1, 1, 1], width: 8, blurpool: 3 }
optimizer: { lr: 0.05, lrPerBatch: 8, weightDecay: 5.0e-4, warmupEpochs: 1 }
sam: { rho: 0.05, interval: 2 }
ema: { halfLifeImages: 100 }
labelSmoothing: 0.1
checkpointSteps: 4
`;
};

/** A producer is never far ahead, so that the log gives back what was trained on, as a long run's does. */
const WINDOW = 20 * 8 * 40 * 40 * 3;

/** @throws what producer or trainer ends with, or the signal's reason */
export async function trainerSoak(options: TrainerSoakOptions): Promise<TrainerSoakResult> {
  const { steps, signal } = options;
  const dir = await mkdtemp(join(tmpdir(), 'medium-recipe-trainer-soak-'));
  try {
    const [shards, recipe] = [join(dir, 'shards'), join(dir, 'recipe.yaml')];
    const photos = fileURLToPath(new URL('test/fixtures/photos', packageRoot));
    await writeFile(recipe, recipeOf(steps));
    const quiet = { signal, onLine: () => {} };
    await runCommand('preprocess', ['shard', '--source', photos, '--out', shards, '--buckets', '32:40,40:48'], quiet);
    const transport = `log:${join(dir, 'log')}`;
    const producer = startCommand(
      'stream',
      [
        ...['produce', '--run', RUN, '--transport', transport, '--shards', shards, '--recipe', recipe],
        ...['--workers', '1', '--window', String(WINDOW)],
      ],
      quiet,
    );
    const fails = new AbortController();
    producer.result.catch((error) => fails.abort(error));
    try {
      return await soaked(options, transport, join(dir, 'out'), AbortSignal.any([signal, fails.signal]));
    } catch (error) {
      signal.throwIfAborted();
      fails.signal.throwIfAborted();
      throw error;
    } finally {
      producer.stop();
      await Promise.allSettled([producer.result]);
    }
  } finally {
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function soaked(
  { steps, backend: name, say }: TrainerSoakOptions,
  transport: string,
  out: string,
  signal: AbortSignal,
): Promise<TrainerSoakResult> {
  const { tf } = await loadBackend(name);
  const samples: Sample[] = [];
  const tenths: TrainerTenth[] = [];
  const { backend, seconds } = await consume({
    ...{ transport, run: RUN, out, backend: name, settings: [], resume: false, allowOtherNumerics: false },
    ...{ waitMs: 60_000, prefetchBytes: 2 ** 24, signal, onLine: () => {} },
    onStep: ({ step }) => {
      samples.push({
        tensors: tf.memory().numTensors,
        handles: process.getActiveResourcesInfo().length,
        files: openFiles(),
        rssMb: process.memoryUsage.rss() / 1e6,
      });
      if (((step + 1) * 10) % steps !== 0) return;
      const tenth = tenthOf(samples.splice(0), step + 1);
      tenths.push(tenth);
      say(`${tenths.length * 10} %: ${lineOf(tenth)}`);
    },
  });
  return { machine: machine(availableParallelism()), backend, steps, seconds, tenths, ...judged(tenths) };
}

interface Sample {
  readonly tensors: number;
  readonly handles: number;
  readonly files: number | null;
  readonly rssMb: number;
}

/** Linux lists a process's open files here. */
const OPEN_FILES = '/proc/self/fd';

/** Without the log's segments: there are as many as it needs for what it holds. */
function openFiles(): number | null {
  if (!existsSync(OPEN_FILES)) return null;
  return readdirSync(OPEN_FILES).filter((name) => !pathOf(name).includes('/log/segments/')).length;
}

function pathOf(name: string): string {
  try {
    return readlinkSync(join(OPEN_FILES, name));
  } catch {
    return ''; // closed since it was listed, as the listing itself is
  }
}

function tenthOf(samples: readonly Sample[], to: number): TrainerTenth {
  const range = (values: readonly number[]) => [Math.min(...values), Math.max(...values)] as const;
  const files = samples.flatMap(({ files }) => files ?? []);
  const rss = samples.map(({ rssMb }) => rssMb);
  return {
    from: to - samples.length,
    to,
    tensors: range(samples.map(({ tensors }) => tensors)),
    handles: range(samples.map(({ handles }) => handles)),
    files: files.length > 0 ? range(files) : null,
    rssMb: median(rss),
    peakMb: Math.max(...rss),
  };
}

function judged(tenths: readonly TrainerTenth[]): Pick<TrainerSoakResult, 'grownMb' | 'flat'> {
  const counts = tenths.flatMap(({ tensors }) => tensors);
  const early = tenths.slice(0, WARM);
  const most = (of: (tenth: TrainerTenth) => number | undefined) => Math.max(...early.map((tenth) => of(tenth) ?? 0));
  const [handles, files] = [most(({ handles }) => handles[1]), most(({ files }) => files?.[1])];
  const [before, end] = [tenths[WARM]?.rssMb ?? Number.NaN, tenths.at(-1)?.rssMb ?? Number.NaN];
  return {
    grownMb: end - before,
    flat: {
      tensors: counts.every((count) => count === counts[0]),
      handles: tenths.every((tenth) => tenth.handles[0] <= handles && (tenth.files?.[0] ?? 0) <= files),
      memory: end <= before * (1 + FLAT.share) + FLAT.mb,
    },
  };
}

const rangeText = ([least, most]: readonly [number, number]) => (least === most ? `${least}` : `${least}–${most}`);

function lineOf({ to, tensors, handles, files, rssMb, peakMb }: TrainerTenth): string {
  const open = files ? `, ${rangeText(files)} files` : '';
  const memory = `${rssMb.toFixed(1)} MB, at most ${peakMb.toFixed(1)}`;
  return `step ${to}: ${rangeText(tensors)} tensors, ${rangeText(handles)} handles${open}, ${memory}`;
}

export function trainerSoakReport({
  backend,
  steps,
  seconds,
  tenths,
  grownMb,
  flat,
  machine,
}: TrainerSoakResult): string {
  const named = (is: boolean) => (is ? 'flat' : 'NOT flat');
  return [
    machineLine(machine),
    `${steps} steps in ${seconds.toFixed(0)} s on ${backend}; SAM every second step, an evaluation every ${EPOCH}, checkpoints every 4`,
    ...tenths.map(lineOf),
    `tensors ${named(flat.tensors)}, handles ${named(flat.handles)}, memory ${named(flat.memory)}: ${grownMb >= 0 ? '+' : '−'}${Math.abs(grownMb).toFixed(1)} MB from the fourth tenth to the last, at most ${100 * FLAT.share} % and ${FLAT.mb} MB`,
  ].join('\n');
}
