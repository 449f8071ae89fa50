// `ops bench loaders`, and the rows of `ops bench peers`: our stream beside Python's loaders, from the same JPEGs.

import { availableParallelism } from 'node:os';
import {
  contest,
  decodeAlone,
  type LoaderCase,
  type LoaderContender,
  loaderCases,
  ourLoader,
  peerLoaders,
  type Score,
} from './contest.ts';
import { loaderSets } from './loader-sets.ts';
import { type Machine, machine } from './machine.ts';

export interface LoaderOptions {
  /** Of the photo set, from which the sets are made. */
  readonly photos: number;
  /** A contender and a case in a round, about: whole rounds of the set. */
  readonly images: number;
  readonly rounds: number;
  readonly workers: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Ours beside others at one piece of work; all rates are images/s, medians of the rounds. */
export interface PeerRow {
  readonly source: string;
  readonly output: string;
  readonly ours: number;
  /** By name; null where the peer is missing. */
  readonly peers: Readonly<Record<string, number | null>>;
  /** What bounds us with the same library: libjpeg-turbo's full decode alone, or sharp without a packer. */
  readonly limit: number | null;
  /** Ours over the best peer; null without any. */
  readonly ratio: number | null;
}

/** One way from source to output. */
export interface LoaderRow extends PeerRow {
  readonly best: string | null;
  /** Ours over the limit. */
  readonly ofLimit: number | null;
  /** Crop, resize and flip by sharp, without MixUp. */
  readonly sharp: number | null;
  /** CPU milliseconds an image, by contender. */
  readonly cpuMs: Readonly<Record<string, number | null>>;
  /** The best peer's, by CPU, over ours: what a shared machine bends less. */
  readonly cpuRatio: number | null;
  /** Images/s of every round, by contender. */
  readonly rounds: Readonly<Record<string, readonly number[]>>;
}

export interface LoaderResult {
  readonly rows: readonly LoaderRow[];
  readonly machine: Machine;
  readonly rounds: number;
  readonly workers: number;
  /** By contender; null where it was left out. */
  readonly versions: Readonly<Record<string, string | null>>;
  /** Name and reason of each peer that was left out. */
  readonly missing: readonly string[];
}

/** The goals: over the best peer, and of libjpeg-turbo's full decode alone. */
export const PEER_GOAL = 2;
export const LIMIT_GOAL = 0.65;

export async function benchLoaders(options: LoaderOptions): Promise<LoaderResult> {
  const { workers, rounds, say } = options;
  const cases = loaderCases(await loaderSets(options.photos, say));
  const contenders: LoaderContender[] = [
    ourLoader(workers),
    decodeAlone('turbo', workers),
    decodeAlone('sharp-loader', workers),
    ...(await peerLoaders(workers, say)),
  ];
  const scores = await contest({ ...options, cases, contenders });
  const missing = contenders.filter((each) => each.missing !== null).map((each) => `${each.name}: ${each.missing}`);
  const versions = Object.fromEntries(scores.map(({ contender, version }) => [contender.name, version]));
  return {
    rows: loaderRows(cases, scores),
    machine: machine(availableParallelism()),
    rounds,
    workers,
    versions,
    missing,
  };
}

export function loaderRows(cases: readonly LoaderCase[], scores: readonly Score[]): LoaderRow[] {
  return cases.map((each) => {
    const mine = scores.filter((score) => score.case === each);
    const of = (kind: LoaderContender['kind']): readonly Score[] => mine.filter((s) => s.contender.kind === kind);
    const ours = of('ours')[0];
    const rate = ours?.imagesPerSecond ?? Number.NaN;
    const limit = of('limit')[0]?.imagesPerSecond ?? null;
    const peers = of('peer');
    const [best] = peers
      .filter((peer) => peer.imagesPerSecond !== null)
      .sort((a, b) => (b.imagesPerSecond ?? 0) - (a.imagesPerSecond ?? 0));
    const cpu = peers.map((peer) => peer.cpuMs).filter((ms) => ms !== null);
    const byName = <Value>(list: readonly Score[], value: (score: Score) => Value): Record<string, Value> =>
      Object.fromEntries(list.map((score) => [score.contender.name, value(score)]));
    return {
      source: each.source,
      output: String(each.output),
      ours: rate,
      peers: byName(peers, (score) => score.imagesPerSecond),
      limit,
      ratio: best?.imagesPerSecond ? rate / best.imagesPerSecond : null,
      best: best?.contender.name ?? null,
      ofLimit: limit === null ? null : rate / limit,
      sharp: of('sharp')[0]?.imagesPerSecond ?? null,
      cpuMs: byName(mine, (score) => score.cpuMs),
      cpuRatio: ours?.cpuMs && cpu.length > 0 ? Math.min(...cpu) / ours.cpuMs : null,
      rounds: byName(mine, (score) => score.rounds),
    };
  });
}
