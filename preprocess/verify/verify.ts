// Checks a packed dataset: every byte of every file, and that what it says agrees with itself.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BucketEntry, MANIFEST_FILE, type Manifest, SPLITS, shardStem } from '#shards';
import { listing } from '../assemble.ts';
import { asReadDamage, type Damage, DamageList } from './damage.ts';
import type { Tally } from './hashed-file.ts';
import { checkedManifest, compareBytes } from './manifest.ts';
import { checkRejects, type RejectedPositions } from './rejects.ts';
import type { ShardReport, ShardTask } from './shard.ts';
import { checkTree } from './tree.ts';

export interface VerifyOptions {
  /** Decode every JPEG. */
  readonly deep: boolean;
  /** `checkShard`, or a pool's worker that runs it. */
  readonly checkShard: (task: ShardTask) => Promise<ShardReport> | ShardReport;
  /** Shards under way at once. */
  readonly parallel: number;
  readonly onProgress?: (progress: VerifyProgress) => void;
  /** Told of the first `DAMAGES_KEPT`, as they are found. */
  readonly onDamage?: (damage: Damage) => void;
}

export interface VerifyProgress {
  readonly shards: number;
  readonly allShards: number;
  readonly bytes: number;
  readonly damages: number;
}

export interface VerifyReport extends Tally {
  /** Samples whose members are what the index says. */
  readonly samples: number;
  /** The first ones. */
  readonly damages: readonly Damage[];
  readonly damageCount: number;
}

/**
 * Checks the dataset in `dir`. Memory: a few shards' indexes, and 8 bytes a reject.
 * @throws Fault `no-shards`, `unfinished`, `only-a-part`
 */
export async function verifyDataset(dir: string, options: VerifyOptions): Promise<VerifyReport> {
  const damages = new DamageList(options.onDamage);
  const tally: Tally = { files: 0, bytes: 0 };
  const manifest = await checkedManifest(dir, damages, tally);
  let samples = 0;
  if (manifest) {
    await checkTree(dir, manifest, damages);
    await checkListings(dir, manifest, damages, tally);
    const rejected = await checkRejects(dir, manifest, damages, tally);
    const none = { train: new Map(), val: new Map() };
    samples = await new ShardChecks(manifest, options, damages, tally).run(dir, rejected ?? none);
  }
  return { ...tally, samples, damages: damages.kept, damageCount: damages.count };
}

async function checkListings(dir: string, { splits }: Manifest, damages: DamageList, tally: Tally): Promise<void> {
  for (const split of SPLITS)
    for (const { resolution, shards } of Object.values(splits[split].buckets)) {
      const file = `${resolution}/${split}.json`;
      try {
        const found = await readFile(join(dir, file));
        tally.files++;
        tally.bytes += found.length;
        compareBytes(file, Buffer.from(listing(split, resolution, shards)), found, damages);
      } catch (error) {
        damages.add(asReadDamage(error, file));
      }
    }
}

/** All shards, several under way, their reports taken in the manifest's order. */
class ShardChecks {
  readonly #manifest: Manifest;
  readonly #options: VerifyOptions;
  readonly #damages: DamageList;
  readonly #tally: Tally;
  /** By split and ordinal: what the first bucket holds there. */
  readonly #contents = new Map<string, { readonly file: string; readonly content: string }>();
  #samples = 0;
  #shards = 0;

  constructor(manifest: Manifest, options: VerifyOptions, damages: DamageList, tally: Tally) {
    this.#manifest = manifest;
    this.#options = options;
    this.#damages = damages;
    this.#tally = tally;
  }

  /** Returns the number of sound samples. */
  async run(dir: string, rejected: RejectedPositions): Promise<number> {
    const underWay: { readonly shard: Shard; readonly report: Promise<ShardReport> }[] = [];
    const small = new Map<BucketEntry, number | null>();
    const takeFirst = async (): Promise<void> => {
      const first = underWay.shift();
      if (!first) return;
      const report = await first.report;
      this.#take(first.shard, report);
      const { bucket } = first.shard;
      const before = small.get(bucket) ?? 0;
      small.set(bucket, small.get(bucket) === null || report.small === null ? null : before + report.small);
    };
    for (const shard of this.#all(dir, rejected)) {
      const report = Promise.resolve(this.#options.checkShard(shard.task));
      // It is thrown where the report is taken; others may have failed before.
      report.catch(() => {});
      underWay.push({ shard, report });
      if (underWay.length >= this.#options.parallel) await takeFirst();
    }
    while (underWay.length > 0) await takeFirst();
    for (const [bucket, count] of small) this.#compareSmall(bucket, count);
    return this.#samples;
  }

  *#all(dir: string, rejected: RejectedPositions): Generator<Shard> {
    const { splits, shardSamples, dataset } = this.#manifest;
    const { deep } = this.#options;
    const wnids = dataset.classes.map(({ wnid }) => wnid);
    for (const split of SPLITS)
      for (const bucket of Object.values(splits[split].buckets))
        for (const [ordinal, entry] of bucket.shards.entries()) {
          const begin = ordinal * shardSamples;
          const end = Math.min(begin + shardSamples, splits[split].positions);
          const range = { begin, end, rejected: rejected[split].get(ordinal) ?? [] };
          const task = { dir, split, shortSide: bucket.shortSide, entry, range, wnids, deep };
          yield { name: shardStem(split, ordinal), bucket, task };
        }
  }

  #take({ name, task }: Shard, { damages, files, bytes, samples, content }: ShardReport): void {
    const { file } = task.entry;
    this.#damages.addAll(damages);
    this.#tally.files += files;
    this.#tally.bytes += bytes;
    this.#samples += samples;
    this.#shards++;
    const first = this.#contents.get(name);
    if (content !== null && !first) this.#contents.set(name, { file, content });
    else if (content !== null && first && content !== first.content) {
      const expected = `the positions, labels and sources of ${first.file}`;
      this.#damages.add({ file, what: 'samples', expected, received: 'others' });
    }
    this.#report();
  }

  /** `count`: stored with a shorter side than the bucket's; null where an index could not be read. */
  #compareSmall({ resolution, notEnlarged }: BucketEntry, count: number | null): void {
    if (count === null || count === notEnlarged) return;
    const what = `notEnlarged of bucket ${resolution}`;
    this.#damages.add({ file: MANIFEST_FILE, what, expected: `${count}`, received: `${notEnlarged}` });
  }

  #report(): void {
    const allShards = SPLITS.flatMap((split) =>
      Object.values(this.#manifest.splits[split].buckets).map(({ shards }) => shards.length),
    ).reduce((sum, count) => sum + count, 0);
    const progress = { shards: this.#shards, allShards, bytes: this.#tally.bytes, damages: this.#damages.count };
    this.#options.onProgress?.(progress);
  }
}

interface Shard {
  /** The same in every bucket. */
  readonly name: string;
  readonly bucket: BucketEntry;
  readonly task: ShardTask;
}
