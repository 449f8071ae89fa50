// `ops bench stream`: the pipeline through the embedded log and through Kafka into a consumer that only checks, beside the
// pipeline alone, all on the same cores.

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Fault, readManifest } from '#shards';
import { downKafka, upKafka } from '../kafka/broker.ts';
import { cacheRoot, temporary } from '../setup/plain.ts';
import { contest, ourLoader } from './contest.ts';
import { groupCpuSeconds } from './loader-child.ts';
import { type LoaderSets, loaderSets } from './loader-sets.ts';
import type { LoaderOptions } from './loaders.ts';
import { type Machine, machine } from './machine.ts';
import { runMeasured } from './measured-child.ts';
import { median } from './preprocess.ts';

/** CPU milliseconds a megabyte (10^6 bytes) of records, the programs' start included; null without /proc. */
interface CpuMs {
  /** With its pool: decode and augmentation. */
  readonly producer: number | null;
  /** Its first thread alone: appends, digests, the plan. */
  readonly producerMain: number | null;
  readonly consumer: number | null;
  /** Null where there is none. */
  readonly broker: number | null;
}

export interface StreamRow {
  readonly transport: 'log' | 'kafka';
  readonly source: string;
  readonly output: string;
  /** Medians of what the consumer checked after the first quarter of the steps; null where it was skipped. */
  readonly imagesPerSecond: number | null;
  readonly megabytesPerSecond: number | null;
  /** From the producer's plan to the consumer's last digest: with what a short run spends on warming up. */
  readonly withStart: number | null;
  /** Our pool alone in the same rounds, warm, images/s. */
  readonly pipeline: number;
  /** Images/s over the pipeline's. */
  readonly ratio: number | null;
  readonly cpuMsPerMb: CpuMs;
  readonly skipped: string | null;
}

export interface StreamResult {
  readonly rows: readonly StreamRow[];
  readonly machine: Machine;
  readonly workers: number;
  readonly rounds: number;
}

const CASES = [
  { shortSide: 256, output: 224 },
  { shortSide: 160, output: 128 },
] as const;
/** Images a step, or as many as there are. */
const BATCH = 128;
const LANES = 4;
/** Bytes that the log holds: less than a system keeps in memory before it begins to write to its disk. */
const WINDOW = 512 * 2 ** 20;

interface Passage {
  readonly imagesPerSecond: number;
  readonly withStart: number;
  readonly bytesPerImage: number;
  readonly cpu: CpuMs;
}

/** Where records go; `pid` of the broker's process, which leads its group. */
interface Way {
  readonly transport: StreamRow['transport'];
  readonly url: (name: string) => string;
  readonly pid: number | null;
}

const NO_CPU: CpuMs = { producer: null, producerMain: null, consumer: null, broker: null };

/** Passages through the broker are slower, so fewer images. */
const SHARE = { log: 1, kafka: 0.25 } as const;

/**
 * `options.images`: at least so many of 224 px a round, in whole epochs; smaller ones are more, of as many bytes. The broker
 * runs, and its disk writes, only in its own rounds.
 */
export async function benchStream(options: LoaderOptions): Promise<StreamResult> {
  const { rounds, workers, say } = options;
  const sets = await loaderSets(options.photos, say);
  const scratch = temporary(cacheRoot());
  await mkdir(scratch, { recursive: true });
  const kafkaDir = join(scratch, 'kafka');
  const rows: StreamRow[] = [];
  try {
    const log: Way = { transport: 'log', url: (name) => `log:${join(scratch, name)}`, pid: null };
    rows.push(...(await benchWay(options, sets, scratch, log)));
    const broker = await upKafka({ dir: kafkaDir, say }).catch((error: unknown) => {
      if (error instanceof Fault) return error;
      throw error;
    });
    if (broker instanceof Fault) {
      say(`SKIPPED: kafka: ${broker.message}`);
      for (const { source, output, pipeline } of [...rows])
        rows.push({ ...rowOf({ source, output, transport: 'kafka' }, [], pipeline), skipped: broker.message });
    } else {
      try {
        const kafka: Way = { transport: 'kafka', url: () => broker.transport, pid: broker.pid };
        rows.push(...(await benchWay(options, sets, scratch, kafka)));
      } finally {
        await downKafka({ dir: kafkaDir });
      }
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return { rows, machine: machine(availableParallelism()), workers, rounds };
}

/** Rounds of the pipeline alone and of a passage, in turns. */
async function benchWay(options: LoaderOptions, sets: LoaderSets, scratch: string, way: Way): Promise<StreamRow[]> {
  const { transport } = way;
  const rows: StreamRow[] = [];
  for (const { shortSide, output } of CASES) {
    const recipe = join(scratch, `${transport}-${output}.yaml`);
    const { train } = (await readManifest(sets.packed)).dataset.counts;
    const batch = LANES * Math.floor(Math.min(BATCH, train) / LANES);
    const images = SHARE[transport] * options.images * (224 / output) ** 2;
    await writeFile(recipe, recipeOf(output, Math.ceil(images / (train - (train % batch))), batch));
    const pipeline: number[] = [];
    const passages: Passage[] = [];
    for (let round = 0; round < options.rounds; round++) {
      const cases = [{ source: `short side ${shortSide}`, output, set: sets.packedBucket(shortSide) }];
      const [score] = await contest({ ...options, rounds: 1, cases, contenders: [ourLoader(options.workers)] });
      pipeline.push(score?.imagesPerSecond ?? Number.NaN);
      const name = `bench-${output}-${round}`;
      const passage = await pass(options, { name, url: way.url(name), shards: sets.packed, recipe, way });
      await rm(join(scratch, name), { recursive: true, force: true });
      passages.push(passage);
      options.say(`${transport} → ${output}: ${passage.imagesPerSecond.toFixed(0)} images/s`);
    }
    const place = { source: `short side ${shortSide}`, output: String(output), transport };
    rows.push(rowOf(place, passages, median(pipeline)));
  }
  return rows;
}

const recipeOf = (resolution: number, epochs: number, batch: number): string =>
  `name: bench\nlanes: ${LANES}\nphases:\n  - { resolution: ${resolution}, epochs: ${epochs}, batch: ${batch} }\noptimizer: { lr: 0.1, weightDecay: 0 }\n`;

interface Consumed {
  readonly images: number;
  readonly bytes: number;
  readonly settled: { readonly images: number; readonly seconds: number };
}

interface Run {
  readonly name: string;
  readonly url: string;
  readonly shards: string;
  readonly recipe: string;
  readonly way: Way;
}

/** One producer and, from its first line on, one consumer; the end of either by a failure ends both. */
async function pass({ workers, signal: interrupted }: LoaderOptions, run: Run): Promise<Passage> {
  const failing = new AbortController();
  const signal = AbortSignal.any([interrupted, failing.signal]);
  const program = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
  const { pid } = run.way;
  const brokerBefore = pid === null ? null : groupCpuSeconds(pid);
  const flags = { run: run.name, transport: run.url, shards: run.shards, recipe: run.recipe, workers, window: WINDOW };
  let begun = Number.NaN;
  let tellBegun: () => void = () => {};
  const planned = new Promise<void>((resolve) => {
    tellBegun = resolve;
  });
  const producing = runMeasured<{ images: number }>({
    command: process.execPath,
    args: [
      ...[program('../../stream/cli.js'), 'produce', '--json'],
      ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]),
    ],
    onStderr: (text) => {
      if (!Number.isNaN(begun) || !/^plan /m.test(text)) return;
      begun = performance.now();
      tellBegun();
    },
    signal,
  });
  producing.catch((error: unknown) => failing.abort(error));
  await Promise.race([planned, producing]);
  const consumed = await runMeasured<Consumed>({
    command: process.execPath,
    args: [program('./checking-consumer.js')],
    input: { transport: run.url, run: run.name },
    signal,
  }).catch(async (error: unknown) => {
    failing.abort(error);
    await Promise.allSettled([producing]);
    throw error;
  });
  const seconds = (performance.now() - begun) / 1000;
  const produced = await producing;
  const brokerAfter = pid === null ? null : groupCpuSeconds(pid);
  const { images, bytes, settled } = consumed.result;
  const perMb = (cpuSeconds: number | null | undefined): number | null =>
    cpuSeconds === null || cpuSeconds === undefined ? null : (1000 * cpuSeconds) / (bytes / 1e6);
  return {
    imagesPerSecond: settled.images / settled.seconds,
    withStart: images / seconds,
    bytesPerImage: bytes / images,
    cpu: {
      producer: perMb(produced.cpu?.process),
      producerMain: perMb(produced.cpu?.mainThread),
      consumer: perMb(consumed.cpu?.process),
      broker: brokerBefore === null || brokerAfter === null ? null : perMb(brokerAfter - brokerBefore),
    },
  };
}

function rowOf(
  place: Pick<StreamRow, 'source' | 'output' | 'transport'>,
  passages: readonly Passage[],
  pipeline: number,
): StreamRow {
  if (passages.length === 0)
    return {
      ...place,
      imagesPerSecond: null,
      withStart: null,
      megabytesPerSecond: null,
      pipeline,
      ratio: null,
      cpuMsPerMb: NO_CPU,
      skipped: null,
    };
  const imagesPerSecond = median(passages.map((passage) => passage.imagesPerSecond));
  const cpuOf = (name: keyof CpuMs): number | null => {
    const known = passages.map(({ cpu }) => cpu[name]).filter((ms) => ms !== null);
    return known.length === 0 ? null : median(known);
  };
  return {
    ...place,
    imagesPerSecond,
    withStart: median(passages.map((passage) => passage.withStart)),
    megabytesPerSecond: median(passages.map((passage) => (passage.imagesPerSecond * passage.bytesPerImage) / 1e6)),
    pipeline,
    ratio: imagesPerSecond / pipeline,
    cpuMsPerMb: {
      producer: cpuOf('producer'),
      producerMain: cpuOf('producerMain'),
      consumer: cpuOf('consumer'),
      broker: cpuOf('broker'),
    },
    skipped: null,
  };
}
