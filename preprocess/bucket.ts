// Writes one bucket of one split: its shards, one after another, and the listing of them.

import { join } from 'node:path';
import {
  type Bucket,
  type BucketEntry,
  type SampleInfo,
  type ShardEntry,
  ShardWriter,
  type Split,
  shardListing,
  writeFileDurably,
} from '#shards';
import type { StoredImage } from './resize.ts';

export class BucketWriter {
  readonly bucket: Bucket;
  readonly #dir: string;
  readonly #split: Split;
  readonly #shards: ShardEntry[] = [];
  #open: ShardWriter | null = null;
  #notEnlarged = 0;

  constructor(dir: string, split: Split, bucket: Bucket) {
    this.bucket = bucket;
    this.#dir = dir;
    this.#split = split;
  }

  async nextShard(): Promise<void> {
    await this.#closeShard();
    const { resolution } = this.bucket;
    const name = { resolution, split: this.#split, ordinal: this.#shards.length };
    this.#open = await ShardWriter.create(this.#dir, name);
  }

  async add(
    info: Omit<SampleInfo, 'width' | 'height'>,
    { jpg, sha256, width, height, notEnlarged }: StoredImage,
  ): Promise<void> {
    if (!this.#open) throw new Error('no shard is open');
    await this.#open.add({ ...info, jpg, sha256, width, height });
    if (notEnlarged) this.#notEnlarged++;
  }

  /** Ends the last shard and writes the listing. */
  async finish(): Promise<BucketEntry> {
    await this.#closeShard();
    const { resolution, shortSide } = this.bucket;
    const listed = this.#shards.map((shard) => ({ ...shard, file: shard.file.slice(shard.file.indexOf('/') + 1) }));
    const listing = shardListing(`${this.#split}-${resolution}`, listed);
    await writeFileDurably(join(this.#dir, String(resolution), `${this.#split}.json`), listing);
    const bytes = this.#shards.reduce((sum, shard) => sum + shard.bytes, 0);
    return { resolution, shortSide, notEnlarged: this.#notEnlarged, bytes, shards: this.#shards };
  }

  async abort(): Promise<void> {
    await this.#open?.abort();
  }

  async #closeShard(): Promise<void> {
    const shard = this.#open;
    if (!shard) return;
    this.#shards.push(await shard.finish());
    this.#open = null;
  }
}
