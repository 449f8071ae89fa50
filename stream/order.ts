// The order of an epoch: shards permuted, then samples permuted inside windows of W shards. A pure function.
// Windows keep the reads of a step within W shards, as in MosaicML Streaming's block shuffles.

import { permutation } from '#shards';

export interface OrderKey {
  readonly seed: number;
  readonly epoch: number;
  /** W: shards a window. */
  readonly window: number;
}

/** Sample ordinals of one epoch, in order. `shardSamples[k]` is how many samples shard k holds. */
export function epochOrder(shardSamples: readonly number[], { seed, epoch, window }: OrderKey): Uint32Array {
  const firstSample: number[] = [];
  let total = 0;
  for (const samples of shardSamples) {
    firstSample.push(total);
    total += samples;
  }
  const order = new Uint32Array(total);
  const shards = permutation(shardSamples.length, { seed, purpose: 'order.shards', epoch });
  let filled = 0;
  for (let begin = 0; begin < shards.length; begin += window) {
    const members = shards.subarray(begin, begin + window);
    const pool = new Uint32Array(members.reduce((sum, shard) => sum + (shardSamples[shard] as number), 0));
    let n = 0;
    for (const shard of members) {
      const first = firstSample[shard] as number;
      for (let i = 0; i < (shardSamples[shard] as number); i++) pool[n++] = first + i;
    }
    const shuffled = permutation(n, { seed, purpose: 'order.samples', epoch, index: begin });
    for (let i = 0; i < n; i++) order[filled++] = pool[shuffled[i] as number] as number;
  }
  return order;
}

/** Remembers the last few epochs' orders: lanes that stand at an epoch's edge alternate between two. */
export function orderCache(
  shardSamples: readonly number[],
  key: Omit<OrderKey, 'epoch'>,
): (epoch: number) => Uint32Array {
  const kept = new Map<number, Uint32Array>();
  return (epoch) => {
    let order = kept.get(epoch);
    if (!order) {
      order = epochOrder(shardSamples, { ...key, epoch });
      kept.set(epoch, order);
      if (kept.size > 3) kept.delete(kept.keys().next().value as number);
    }
    return order;
  };
}
