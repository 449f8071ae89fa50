// Reads samples at random: where the n-th sample of a split lies, and its JPEG's bytes.

import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from './errors.ts';
import type { Manifest, ShardEntry } from './manifest.ts';
import { decodeIndex, type ShardIndex } from './offsets.ts';
import { readAtSync } from './read-at.ts';
import type { Split } from './sample.ts';

/** Where a JPEG lies and what it is. Plain values, so it may be sent to a worker. */
export interface SampleLocation {
  /** The tar's path from the dataset's folder. */
  readonly shard: string;
  /** Of the JPEG in the tar, bytes. */
  readonly offset: number;
  readonly bytes: number;
  readonly label: number;
  /** Of the JPEG, pixels. */
  readonly width: number;
  readonly height: number;
}

/** All samples of one split in one bucket, numbered 0 … samples−1 in shard order; 20 bytes of memory a sample. */
export class SplitIndex {
  readonly samples: number;
  /** Samples of each shard, in order. */
  readonly shardSamples: readonly number[];
  readonly #files: readonly string[];
  /** First sample of each shard. */
  readonly #first: readonly number[];
  readonly #offset: Float64Array;
  readonly #bytes: Int32Array;
  readonly #label: Int32Array;
  readonly #width: Uint16Array;
  readonly #height: Uint16Array;

  constructor(shards: readonly ShardEntry[]) {
    this.shardSamples = shards.map(({ samples }) => samples);
    this.#files = shards.map(({ file }) => file);
    const first: number[] = [];
    let samples = 0;
    for (const count of this.shardSamples) {
      first.push(samples);
      samples += count;
    }
    this.#first = first;
    this.samples = samples;
    this.#offset = new Float64Array(samples);
    this.#bytes = new Int32Array(samples);
    this.#label = new Int32Array(samples);
    this.#width = new Uint16Array(samples);
    this.#height = new Uint16Array(samples);
  }

  /** Fills in shard number `shard`. */
  set(shard: number, index: ShardIndex): void {
    const first = this.#first[shard] as number;
    this.#offset.set(index.offset, first);
    this.#bytes.set(index.bytes, first);
    this.#label.set(index.label, first);
    this.#width.set(index.width, first);
    this.#height.set(index.height, first);
  }

  /** @throws RangeError outside 0 … samples−1: the caller's defect */
  locate(sample: number): SampleLocation {
    if (!Number.isInteger(sample) || sample < 0 || sample >= this.samples)
      throw new RangeError(`sample ${sample} of ${this.samples}`);
    return {
      shard: this.#files[this.#shardOf(sample)] as string,
      offset: this.#offset[sample] as number,
      bytes: this.#bytes[sample] as number,
      label: this.#label[sample] as number,
      width: this.#width[sample] as number,
      height: this.#height[sample] as number,
    };
  }

  /** The last shard whose first sample is not after `sample`; an empty shard has the same first as its successor. */
  #shardOf(sample: number): number {
    let low = 0;
    let high = this.#first.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#first[middle] as number) <= sample) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/**
 * Opens a split of a bucket: reads every shard's index and compares it with the manifest.
 * @throws Fault `no-bucket`, `index-missing`, `index-damaged`
 */
export async function openSplit(
  dir: string,
  manifest: Manifest,
  split: Split,
  resolution: number,
): Promise<SplitIndex> {
  const { buckets } = manifest.splits[split];
  const bucket = buckets[String(resolution)];
  if (!bucket) {
    const packed = Object.keys(buckets).join(', ');
    throw new Fault({
      code: 'no-bucket',
      received: `resolution ${resolution}`,
      expected: `one of the packed ones in ${dir}: ${packed}`,
      remedy: `pack it too: preprocess shard --buckets ${packed.replaceAll(' ', '')},${resolution}`,
    });
  }
  const index = new SplitIndex(bucket.shards);
  for (const [i, entry] of bucket.shards.entries()) index.set(i, await readIndex(dir, entry));
  return index;
}

async function readIndex(dir: string, entry: ShardEntry): Promise<ShardIndex> {
  const path = join(dir, entry.file.replace(/\.tar$/, '.index.safetensors'));
  let file: Buffer;
  try {
    file = await readFile(path);
  } catch (cause) {
    throw shardFault('index-missing', `${path} (${(cause as NodeJS.ErrnoException).code})`, 'the index of its shard');
  }
  const hash = createHash('sha256').update(file).digest('hex');
  if (hash !== entry.indexSha256)
    throw shardFault('index-damaged', `${path} with sha256 ${hash}`, `${entry.indexSha256}, as in the manifest`);
  return decodeIndex(file);
}

/** The shards' files, opened when first read; at most `maxOpen` stay open, the least recently read is closed. */
export class ShardFiles {
  readonly #dir: string;
  readonly #maxOpen: number;
  /** By path, the most recently read last. */
  readonly #open = new Map<string, number>();

  constructor(dir: string, maxOpen = 64) {
    this.#dir = dir;
    this.#maxOpen = maxOpen;
  }

  /**
   * The bytes at a location, in the beginning of `into` where it is given (it must be long enough).
   * @throws Fault `shard-missing`, `shard-short`
   */
  readSync(
    { shard, offset, bytes }: Pick<SampleLocation, 'shard' | 'offset' | 'bytes'>,
    into?: Uint8Array,
  ): Uint8Array {
    const target = (into ?? Buffer.allocUnsafeSlow(bytes)).subarray(0, bytes);
    if (target.length < bytes) throw new RangeError(`${bytes} bytes do not fit into ${target.length}`);
    const fd = this.#descriptor(shard);
    const done = readAtSync(fd, target, offset);
    if (done === bytes) return target;
    throw shardFault(
      'shard-short',
      `${join(this.#dir, shard)}: ${done} of ${bytes} bytes at byte ${offset}`,
      'a shard as long as its index says',
    );
  }

  close(): void {
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }

  #descriptor(shard: string): number {
    const known = this.#open.get(shard);
    this.#open.delete(shard);
    const fd = known ?? this.#openShard(shard);
    this.#open.set(shard, fd);
    return fd;
  }

  #openShard(shard: string): number {
    const [oldest] = this.#open;
    if (oldest && this.#open.size >= this.#maxOpen) {
      closeSync(oldest[1]);
      this.#open.delete(oldest[0]);
    }
    const path = join(this.#dir, shard);
    try {
      return openSync(path, 'r');
    } catch (cause) {
      throw shardFault(
        'shard-missing',
        `${path} (${(cause as NodeJS.ErrnoException).code})`,
        'a shard of the manifest',
      );
    }
  }
}

function shardFault(code: string, received: string, expected: string): Fault {
  return new Fault({ code, received, expected, remedy: `restore the file, or pack again with 'preprocess shard'` });
}
