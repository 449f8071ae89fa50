// `ops bench decode` and `ops bench pipeline`: what bounds us, and what our pool makes of it, by workers and by shards.

import { availableParallelism } from 'node:os';
import { contest, decodeAlone, loaderCases, ourLoader, ourLoaderBySharp, type Score } from './contest.ts';
import type { Stages } from './loader-child.ts';
import { loaderSets, readSet } from './loader-sets.ts';
import type { LoaderOptions } from './loaders.ts';
import { type Machine, machine } from './machine.ts';
import { median } from './preprocess.ts';

export interface DecodeRow {
  readonly source: string;
  /** Milliseconds an image and core: threads over images/s. */
  readonly turbo1Ms: number;
  readonly turboMs: number;
  readonly sharpMs: number;
  /** Images/s of libjpeg-turbo with all threads over one. */
  readonly scaling: number;
  /** sharp's time over libjpeg-turbo's, all threads. */
  readonly ratio: number;
}

export interface DecodeResult {
  readonly rows: readonly DecodeRow[];
  readonly machine: Machine;
  readonly threads: number;
}

/** Images/s of the median round; it ran, as none of these can be missing. */
function rateOf(scores: readonly Score[], set: string, output: number, at: number): number {
  const mine = scores.filter((score) => score.case.set === set && score.case.output === output);
  return mine[at]?.imagesPerSecond ?? Number.NaN;
}

export async function benchDecode(options: LoaderOptions): Promise<DecodeResult> {
  const threads = options.workers;
  const all = loaderCases(await loaderSets(options.photos, options.say));
  // The output is not made: one case a source.
  const cases = all.filter((each, i) => all.findIndex(({ set }) => set === each.set) === i);
  const contenders = [decodeAlone('turbo', 1), decodeAlone('turbo', threads), decodeAlone('sharp', threads)];
  const scores = await contest({ ...options, cases, contenders });
  const rows = cases.map(({ source, set, output }): DecodeRow => {
    const [one, turbo, sharp] = [0, 1, 2].map((at) => rateOf(scores, set, output, at)) as [number, number, number];
    return {
      source,
      turbo1Ms: 1000 / one,
      turboMs: (1000 * threads) / turbo,
      sharpMs: (1000 * threads) / sharp,
      scaling: turbo / one,
      ratio: turbo / sharp,
    };
  });
  return { rows, machine: machine(availableParallelism()), threads };
}

export interface PipelineRow {
  readonly source: string;
  readonly output: string;
  /** Mean of the stored JPEGs. */
  readonly jpegBytes: number;
  readonly imagesPerSecond: number;
  /** The same with one worker. */
  readonly oneWorker: number;
  /** Of the single worker, which has a core for itself. */
  readonly stages: Stages;
  /** CPU milliseconds an image of the whole process; null without /proc. */
  readonly cpuMs: number | null;
  /** libjpeg-turbo alone in the same rounds, images/s. */
  readonly limit: number;
  /** Images/s over the limit's. */
  readonly ratio: number;
  /** Images/s with all workers over one, ours and the limit's. */
  readonly scaling: number;
  readonly limitScaling: number;
  /** Our scaling over the limit's. */
  readonly scalingRatio: number;
  /** Images/s of the same pool with sharp as its decoder. */
  readonly bySharp: number;
}

export interface PipelineResult {
  readonly rows: readonly PipelineRow[];
  /** Images/s at 256 → 224 by the number of shards, in the same rounds. */
  readonly shards: Readonly<Record<'4' | '400', number>> & { readonly ratio: number };
  readonly machine: Machine;
  readonly workers: number;
}

/** The goal: workers scale nearly as well as the decoder alone. */
export const SCALING_GOAL = 0.93;

export async function benchPipeline(options: LoaderOptions): Promise<PipelineResult> {
  const { workers, say } = options;
  const sets = await loaderSets(options.photos, say);
  const cases = loaderCases(sets);
  const contenders = [
    ourLoader(workers),
    ourLoader(1),
    decodeAlone('turbo', workers),
    decodeAlone('turbo', 1),
    ourLoaderBySharp(workers),
  ];
  const scores = await contest({ ...options, cases, contenders });
  const rows = await Promise.all(
    cases.map(async ({ source, set, output }): Promise<PipelineRow> => {
      const rates = contenders.map((_, at) => rateOf(scores, set, output, at));
      const [ours, oneWorker, limit, limit1, bySharp] = rates as [number, number, number, number, number];
      const mine = scores.filter((score) => score.case.set === set && score.case.output === output);
      const { samples } = await readSet(set);
      const { stages } = mine[1] ?? {};
      if (!stages) throw new Error(`no stages of ${set}`);
      const scaling = ours / oneWorker;
      const limitScaling = limit / limit1;
      return {
        source,
        output: String(output),
        jpegBytes: samples.reduce((sum, { bytes }) => sum + bytes, 0) / samples.length,
        imagesPerSecond: ours,
        oneWorker,
        stages,
        cpuMs: mine[0]?.cpuMs ?? null,
        limit,
        ratio: ours / limit,
        scaling,
        limitScaling,
        scalingRatio: scaling / limitScaling,
        bySharp,
      };
    }),
  );
  return { rows, shards: await benchShards(options), machine: machine(availableParallelism()), workers };
}

/** 4 shards against 400 of the same photos: one child each, so that the rounds of the two alternate. */
async function benchShards(options: LoaderOptions): Promise<PipelineResult['shards']> {
  const sets = await loaderSets(options.photos, options.say);
  const rates: Record<'4' | '400', number[]> = { '4': [], '400': [] };
  for (let round = 0; round < options.rounds; round++)
    for (const shards of round % 2 === 0 ? ([4, 400] as const) : ([400, 4] as const)) {
      const cases = [{ source: `${shards} shards`, output: 224, set: sets.inShards(shards) }];
      const [score] = await contest({ ...options, rounds: 1, cases, contenders: [ourLoader(options.workers)] });
      rates[`${shards}`].push(score?.imagesPerSecond ?? Number.NaN);
    }
  const [few, many] = [median(rates['4']), median(rates['400'])];
  return { '4': few, '400': many, ratio: many / few };
}
