// `ops bench peers`: what is claimed beside others, with nothing left out: a missing peer is a failure here.

import { type Check, interopChecks } from './interop.ts';
import { benchLoaders, type LoaderResult, type LoaderRow, type PeerRow } from './loaders.ts';
import { type BenchOptions, type BenchResult, benchPreprocess, type Row } from './preprocess.ts';

export interface PeersResult {
  readonly pass: boolean;
  /** Of the loaders: what the stream is judged by. */
  readonly rows: readonly LoaderRow[];
  /** Of the packers. */
  readonly packing: readonly PeerRow[];
  readonly checks: readonly Check[];
  /** Name and reason of each. */
  readonly missing: readonly string[];
  readonly loaders: LoaderResult;
  readonly preprocess: BenchResult;
}

export interface PeersOptions extends BenchOptions {
  readonly loaderImages: number;
  readonly loaderRounds: number;
}

/** Of the photo set that the loaders' sets are made from: a third are of the originals' size. */
const LOADER_PHOTOS = 1000;

export async function benchPeers(options: PeersOptions): Promise<PeersResult> {
  const checks = await interopChecks(options);
  const loaders = await benchLoaders({
    ...options,
    photos: Math.min(options.images, LOADER_PHOTOS),
    images: options.loaderImages,
    rounds: options.loaderRounds,
  });
  const preprocess = await benchPreprocess(options);
  const skipped = preprocess.rows.filter((row) => row.skipped !== null).map((row) => `${row.name}: ${row.skipped}`);
  const missing = [...loaders.missing, ...skipped];
  const pass = missing.length === 0 && checks.every((check) => check.pass);
  return { pass, rows: loaders.rows, packing: packingRows(preprocess.rows), checks, missing, loaders, preprocess };
}

/** The rows of the packers' benchmark in the shape that all peers share, one for each kernel of ours. */
export function packingRows(rows: readonly Row[]): PeerRow[] {
  const ours = rows.filter(({ kind }) => kind === 'ours');
  return ours.map(({ kernel, imagesPerSecond }) => {
    const same = rows.filter((row) => row.kernel === kernel);
    const peers = same.filter(({ kind }) => kind === 'peer');
    const rates = peers.map((peer) => peer.imagesPerSecond).filter((rate) => rate !== null);
    const rate = imagesPerSecond ?? Number.NaN;
    return {
      source: "JPEGs after ImageNet's statistics",
      output: `shards of three buckets, ${kernel}`,
      ours: rate,
      peers: Object.fromEntries(peers.map((peer) => [peer.name, peer.imagesPerSecond])),
      limit: same.find(({ kind }) => kind === 'limit')?.imagesPerSecond ?? null,
      ratio: rates.length === 0 ? null : rate / Math.max(...rates),
    };
  });
}

/** The checks and what is missing, as lines for people. */
export function checkLines({ checks, missing }: PeersResult): string[] {
  return [
    ...checks.map(({ name, pass, detail }) => `${pass ? 'pass' : 'FAIL'}  ${name} (${detail})`),
    ...missing.map((line) => `FAIL  missing: ${line}`),
  ];
}
