// What the cases of the transport contract need: transports on the log under test, topics, readers, and their end.

import { randomBytes } from 'node:crypto';
import { Fault } from '#shards';
import { openTransport, type Reader, type TopicSpec, type Transport } from '../../../stream/transport/index.ts';

export const MB = 1_000_000;

export class Harness {
  /** Set before the first test. */
  url = '';
  /** Runs of the property with random interleavings: a broker takes longer for each. */
  readonly runs: number;
  readonly #cleanups: (() => unknown)[] = [];

  constructor(runs: number) {
    this.runs = runs;
  }

  async open(url = this.url): Promise<Transport> {
    const transport = await openTransport(url);
    this.onEnd(() => transport.close());
    return transport;
  }

  /** A topic of its own for each case. */
  async topic(transport: Transport, spec: Partial<TopicSpec> = {}): Promise<string> {
    const name = `topic-${randomBytes(6).toString('hex')}`;
    await transport.createTopics([{ name, partitions: 1, retention: 'forever', maxRecordBytes: MB, ...spec }]);
    return name;
  }

  /** Reads the partitions 0, 1, … from these offsets. */
  reader(transport: Transport, topic: string, from: readonly number[], maxBytes = 4 * MB): Promise<Reader> {
    return transport.read({ topic, from: new Map(from.entries()), maxBytes });
  }

  /** Registers what must happen after a case, also when it fails; the last first. */
  onEnd(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  async end(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
  }
}

export const isFault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;

export const numbers = (n: number, first = 0): number[] => Array.from({ length: n }, (_, i) => first + i);

export async function offsets(from: Reader, partition: number, count: number): Promise<number[]> {
  const found: number[] = [];
  for (let i = 0; i < count; i++) found.push((await from.next(partition))?.offset ?? -1);
  return found;
}
