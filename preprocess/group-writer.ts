// Writes one group: shard number k of a split in every bucket at once, so that a source is decoded once for all.

import { type Bucket, type SampleInfo, ShardWriter } from '#shards';
import type { GroupShard } from './group.ts';
import type { StoredImage } from './image.ts';
import type { Group } from './job.ts';

export class GroupWriter {
  readonly #shards: readonly ShardWriter[];
  readonly #buckets: readonly Bucket[];
  readonly #notEnlarged: number[];

  private constructor(buckets: readonly Bucket[], shards: readonly ShardWriter[]) {
    this.#buckets = buckets;
    this.#shards = shards;
    this.#notEnlarged = buckets.map(() => 0);
  }

  static async create(out: string, { split, ordinal }: Group, buckets: readonly Bucket[]): Promise<GroupWriter> {
    const shards: ShardWriter[] = [];
    try {
      for (const { resolution } of buckets) shards.push(await ShardWriter.create(out, { resolution, split, ordinal }));
    } catch (error) {
      for (const shard of shards) await shard.abort();
      throw error;
    }
    return new GroupWriter(buckets, shards);
  }

  /** `images`: one a bucket. */
  async add(info: Omit<SampleInfo, 'width' | 'height'>, images: readonly StoredImage[]): Promise<void> {
    for (const [i, shard] of this.#shards.entries()) {
      const { jpg, width, height, notEnlarged } = images[i] as StoredImage;
      await shard.add({ ...info, jpg, width, height });
      if (notEnlarged) (this.#notEnlarged[i] as number)++;
    }
  }

  /** Makes the shards durable. */
  async finish(): Promise<GroupShard[]> {
    const entries: GroupShard[] = [];
    for (const [i, writer] of this.#shards.entries()) {
      const { resolution } = this.#buckets[i] as Bucket;
      entries.push({ resolution, notEnlarged: this.#notEnlarged[i] as number, shard: await writer.finish() });
    }
    return entries;
  }

  /** Gives up what is not finished. */
  async abort(): Promise<void> {
    for (const shard of this.#shards) await shard.abort();
  }
}
