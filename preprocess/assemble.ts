// From the finished groups to a dataset: the list of rejects, the listings and, last of all, the manifest.

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  type Bucket,
  type BucketEntry,
  DurableFile,
  encodeManifest,
  Fault,
  MANIFEST_FILE,
  MANIFEST_FORMAT,
  type Manifest,
  type ShardEntry,
  SPLITS,
  type Split,
  type SplitEntry,
  shardListing,
  syncFolder,
  writeFileDurably,
} from '#shards';
import { groupsOf, type Job } from './job.ts';
import { REJECTS_FILE, rejectLine } from './rejects.ts';
import type { Workspace } from './workspace.ts';

/**
 * Writes what a dataset has beside its shards; the bytes depend on the job and its groups alone.
 * @throws Fault `nothing-packed`
 */
export async function assemble(workspace: Workspace, job: Job): Promise<Manifest> {
  const { out } = workspace;
  const rejects = await RejectsFile.create(join(out, REJECTS_FILE));
  const splits = {} as Record<Split, SplitEntry>;
  try {
    for (const split of SPLITS) splits[split] = await assembleSplit(workspace, job, split, rejects);
  } catch (error) {
    await rejects.drop();
    throw error;
  }
  for (const split of SPLITS)
    for (const { resolution } of job.buckets) {
      const { shards } = splits[split].buckets[String(resolution)] as BucketEntry;
      await writeFileDurably(join(out, String(resolution), `${split}.json`), listing(split, resolution, shards));
    }
  const { manifest, text } = await encodeManifest({
    format: MANIFEST_FORMAT,
    dataset: {
      classes: [...job.classes],
      counts: { train: splits.train.samples, val: splits.val.samples },
    },
    seed: job.seed,
    shardSamples: job.shardSamples,
    fingerprint: job.fingerprint,
    splits,
    rejects: await rejects.keep(),
  });
  for (const { resolution } of job.buckets) await syncFolder(join(out, String(resolution)));
  await writeFileDurably(join(out, MANIFEST_FILE), text);
  return manifest;
}

async function assembleSplit(workspace: Workspace, job: Job, split: Split, rejects: RejectsFile): Promise<SplitEntry> {
  const buckets = job.buckets.map((bucket) => new BucketSum(bucket));
  let samples = 0;
  let viaTurbo = 0;
  let viaSharp = 0;
  for (const group of groupsOf(job).filter((each) => each.split === split)) {
    const record = await workspace.recordOf(group);
    samples += record.samples;
    viaTurbo += record.viaTurbo;
    viaSharp += record.viaSharp;
    for (const reject of record.rejects) await rejects.add(rejectLine(reject), reject.code);
    for (const [i, { shard, notEnlarged }] of record.buckets.entries()) buckets[i]?.add(shard, notEnlarged);
  }
  const { count, sha256 } = job.sources[split];
  if (samples === 0) throw nothingPacked(split, count);
  return {
    positions: count,
    samples,
    sourcesSha256: sha256,
    viaTurbo,
    viaSharp,
    buckets: Object.fromEntries(buckets.map((sum) => [String(sum.bucket.resolution), sum.entry()])),
  };
}

class BucketSum {
  readonly bucket: Bucket;
  readonly #shards: ShardEntry[] = [];
  #notEnlarged = 0;
  #bytes = 0;

  constructor(bucket: Bucket) {
    this.bucket = bucket;
  }

  add(shard: ShardEntry, notEnlarged: number): void {
    this.#shards.push(shard);
    this.#notEnlarged += notEnlarged;
    this.#bytes += shard.bytes;
  }

  entry(): BucketEntry {
    return { ...this.bucket, notEnlarged: this.#notEnlarged, bytes: this.#bytes, shards: this.#shards };
  }
}

/** `rejects.jsonl` as it grows, in position order, train first. */
class RejectsFile {
  readonly #file: DurableFile;
  readonly #hash = createHash('sha256');
  readonly #byCode: Record<string, number> = {};
  #count = 0;

  private constructor(file: DurableFile) {
    this.#file = file;
  }

  static async create(path: string): Promise<RejectsFile> {
    return new RejectsFile(await DurableFile.create(path));
  }

  async add(line: string, code: string): Promise<void> {
    this.#count++;
    this.#byCode[code] = (this.#byCode[code] ?? 0) + 1;
    this.#hash.update(line);
    await this.#file.handle.write(line);
  }

  async keep(): Promise<Manifest['rejects']> {
    await this.#file.keep();
    return { count: this.#count, byCode: this.#byCode, sha256: this.#hash.digest('hex') };
  }

  async drop(): Promise<void> {
    await this.#file.drop();
  }
}

/** The text of `R/SPLIT.json`. */
export function listing(split: Split, resolution: number, shards: readonly ShardEntry[]): string {
  const inFolder = shards.map((shard) => ({ ...shard, file: shard.file.slice(shard.file.indexOf('/') + 1) }));
  return shardListing(`${split}-${resolution}`, inFolder);
}

function nothingPacked(split: Split, sources: number): Fault {
  return new Fault({
    code: 'nothing-packed',
    received: `all ${sources} sources of ${split} were rejected`,
    expected: 'at least one that can be packed',
    remedy: 'check that --source holds photos; --on-error fail names the first reason',
  });
}
