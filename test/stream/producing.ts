// Produces small runs in the test's own process, and reads everything that a run's topics hold.

import { type ProduceOptions, produce } from '../../stream/producer.ts';
import type { Extent, Transport } from '../../stream/transport/transport.ts';

export type SmallProduce = Pick<ProduceOptions, 'transport' | 'run' | 'shards' | 'recipe'> & Partial<ProduceOptions>;

export function produceSmall(options: SmallProduce): ReturnType<typeof produce> {
  return produce({
    workers: 1,
    windowBytes: 2 ** 33,
    memoryBytes: 2 ** 26,
    forget: [],
    signal: new AbortController().signal,
    onEvent: () => {},
    ...options,
  });
}

/** The values of all records of a topic, by partition. */
export async function recordsOf(transport: Transport, topic: string): Promise<Buffer[][]> {
  const extents = await transport.ends(topic);
  const from = new Map(extents.map(({ begin }: Extent, partition: number) => [partition, begin]));
  const reader = await transport.read({ topic, from, maxBytes: 2 ** 22 });
  const all: Buffer[][] = [];
  for (const [partition, { begin, end }] of extents.entries()) {
    const values: Buffer[] = [];
    for (let offset = begin; offset < end; ) {
      const record = await reader.next(partition);
      if (!record) break;
      values.push(Buffer.from(record.value));
      offset = record.offset + 1;
    }
    all.push(values);
  }
  await reader.close();
  return all;
}
