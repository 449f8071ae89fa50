// Packs a folder of photos into shards: scan, permute, resize in the pool, write in order, publish as a whole.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Bucket,
  type BucketEntry,
  encodeManifest,
  Fault,
  MANIFEST_FILE,
  type Manifest,
  permutation,
  SPLITS,
  type Split,
  type SplitEntry,
  sampleKey,
  syncFolder,
  writeFileDurably,
} from '#shards';
import { BucketWriter } from './bucket.ts';
import { openPool, type ResizePool } from './pool.ts';
import { type Reject, RejectLog, rejectFault } from './rejects.ts';
import { RESIZE, type ResizeTask, type StoredImage } from './resize.ts';
import { type Scan, type SourceList, scan } from './scan.ts';
import { openStaging } from './staging.ts';

export interface PackOptions {
  readonly source: string;
  readonly out: string;
  readonly buckets: readonly Bucket[];
  readonly workers: number;
  /** `fail`: the first source that cannot be packed ends the run. `skip`: it is listed, and the rest packed. */
  readonly onError: 'skip' | 'fail';
  readonly seed: number;
  /** Source positions a shard. */
  readonly shardSamples: number;
  /** Ends the run between two sources; nothing stays of it. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PackProgress) => void;
  /** Told of what is out of the ordinary, once each. */
  readonly onNotice?: (notice: string) => void;
}

export interface PackProgress {
  readonly split: Split;
  /** Sources of both splits: done, and all there are. */
  readonly done: number;
  readonly sources: number;
  /** Of the sources done. */
  readonly sourceBytes: number;
  readonly rejects: number;
}

/**
 * Packs `source` into `out`, which appears only when it is complete.
 * @throws Fault of the scan, the staging folder and, with `fail`, the first reject in position order; `interrupted`,
 * `nothing-packed`, `write-failed`
 */
export async function pack(options: PackOptions): Promise<Manifest> {
  const { out, workers, onNotice } = options;
  const scanned = await scan(options.source);
  if (scanned.strays.length > 0)
    onNotice?.(`${scanned.strays.length} files outside class folders are ignored (${scanned.strays[0]}, …)`);
  const staging = await openStaging(out).catch((error: unknown) => {
    throw asWriteFault(error, out);
  });
  if (staging.replacedStale) onNotice?.(`what a killed run had left of ${out} was removed`);
  const pool = await openPool(workers);
  try {
    const manifest = await new Packer(options, staging.dir, scanned, pool).run();
    await staging.commit();
    return manifest;
  } catch (error) {
    await staging.discard();
    throw asWriteFault(error, out);
  } finally {
    await pool.close();
  }
}

/** One run: the counters of the splits and the writers that are open. */
class Packer {
  readonly #options: PackOptions;
  readonly #dir: string;
  readonly #scan: Scan;
  readonly #pool: ResizePool;
  #done = 0;
  #sourceBytes = 0;

  constructor(options: PackOptions, dir: string, scanned: Scan, pool: ResizePool) {
    this.#options = options;
    this.#dir = dir;
    this.#scan = scanned;
    this.#pool = pool;
  }

  async run(): Promise<Manifest> {
    const { buckets, seed, shardSamples } = this.#options;
    const rejects = await RejectLog.create(this.#dir);
    let splits: Record<Split, SplitEntry>;
    try {
      for (const { resolution } of buckets) await mkdir(join(this.#dir, String(resolution)));
      splits = { train: await this.#packSplit('train', rejects), val: await this.#packSplit('val', rejects) };
      await rejects.finish();
    } catch (error) {
      await rejects.abort();
      throw error;
    }
    const { default: sharp } = await import('sharp');
    const { manifest, text } = encodeManifest({
      format: 'medium-recipe/shards@1',
      dataset: {
        classes: [...this.#scan.classes],
        counts: { train: splits.train.samples, val: splits.val.samples },
      },
      seed,
      shardSamples,
      fingerprint: {
        sharp: sharp.versions.sharp,
        libvips: sharp.versions.vips,
        mozjpeg: sharp.versions.mozjpeg ?? 'none',
        arch: process.arch,
        resize: RESIZE,
      },
      splits,
      rejects: { count: rejects.count, byCode: rejects.byCode as Record<string, number> },
    });
    for (const { resolution } of buckets) await syncFolder(join(this.#dir, String(resolution)));
    await writeFileDurably(join(this.#dir, MANIFEST_FILE), text);
    return manifest;
  }

  async #packSplit(split: Split, rejects: RejectLog): Promise<SplitEntry> {
    const { source, buckets, onError, seed, shardSamples } = this.#options;
    const sources = this.#scan.sources[split];
    const order = permutation(sources.paths.length, { seed, purpose: `pack.${split}` });
    const files = buckets.map((bucket) => new BucketWriter(this.#dir, split, bucket));
    let position = 0;
    let samples = 0;
    try {
      for await (const { result, sourceBytes } of this.#pool.inOrder(tasksOf(this.#options, split, sources, order))) {
        this.#options.signal?.throwIfAborted();
        if (position % shardSamples === 0) for (const file of files) await file.nextShard();
        const at = order[position] as number;
        const path = sources.paths[at] as string;
        if (result.ok) {
          const label = sources.labels[at] as number;
          const { wnid } = this.#scan.classes[label] as { wnid: string };
          const info = { key: sampleKey(position, path), label, wnid, source: path, position };
          for (const [i, file] of files.entries()) await file.add(info, result.images[i] as StoredImage);
          samples++;
        } else {
          const reject: Reject = { split, position, source: path, code: result.code, reason: result.reason };
          if (onError === 'fail') throw rejectFault(reject, join(source, path));
          await rejects.add(reject);
        }
        position++;
        this.#report(split, sourceBytes, rejects.count);
      }
      if (samples === 0) throw nothingPacked(split, position);
      const entries: [string, BucketEntry][] = [];
      for (const file of files) entries.push([String(file.bucket.resolution), await file.finish()]);
      return { positions: position, samples, buckets: Object.fromEntries(entries) };
    } catch (error) {
      for (const file of files) await file.abort();
      throw error;
    }
  }

  #report(split: Split, sourceBytes: number, rejects: number): void {
    this.#done++;
    this.#sourceBytes += sourceBytes;
    const sources = SPLITS.reduce((sum, name) => sum + this.#scan.sources[name].paths.length, 0);
    this.#options.onProgress?.({ split, done: this.#done, sources, sourceBytes: this.#sourceBytes, rejects });
  }
}

function* tasksOf(
  { source, buckets }: PackOptions,
  split: Split,
  sources: SourceList,
  order: Uint32Array,
): Generator<ResizeTask> {
  for (const at of order) yield { file: join(source, sources.paths[at] as string), split, buckets };
}

function nothingPacked(split: Split, sources: number): Fault {
  return new Fault({
    code: 'nothing-packed',
    received: `all ${sources} sources of ${split} were rejected`,
    expected: 'at least one that can be packed',
    remedy: 'check that --source holds photos; --on-error fail names the first reason',
  });
}

/** What the system refuses while writing (disk full, no permission) is not a defect of ours. */
function asWriteFault(error: unknown, out: string): unknown {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (error instanceof Fault || code === undefined || syscall === undefined) return error;
  return new Fault({
    code: 'write-failed',
    received: `${(error as Error).message} while packing into ${out}`,
    expected: 'a target that can be written',
    remedy: 'free space or permissions there, or give another --out; nothing was left behind',
    cause: error,
  });
}
