// The consumer's readers: one a topic for all its lanes, with the offset that each lane gets next.

import type { Reader, Transport } from './transport/transport.ts';

/** One reader a topic, opened when first wanted. */
export class TopicReaders {
  readonly #transport: Transport;
  readonly #lanes: readonly number[];
  readonly #readers = new Map<string, Promise<{ reader: Reader; positions: Map<number, number> }>>();

  constructor(transport: Transport, lanes: readonly number[]) {
    this.#transport = transport;
    this.#lanes = lanes;
  }

  /** `positions`: the offset that each lane's reader delivers next. */
  open(topic: string): Promise<{ reader: Reader; positions: Map<number, number> }> {
    let opened = this.#readers.get(topic);
    if (!opened) {
      opened = this.#open(topic);
      opened.catch(() => {});
      this.#readers.set(topic, opened);
    }
    return opened;
  }

  async #open(topic: string) {
    const extents = await this.#transport.ends(topic);
    const positions = new Map(this.#lanes.map((lane) => [lane, extents[lane]?.begin ?? 0]));
    const reader = await this.#transport.read({ topic, from: positions, maxBytes: 2_000_000 });
    return { reader, positions };
  }

  async close(topic?: string): Promise<void> {
    for (const [name, opened] of this.#readers) {
      if (topic !== undefined && name !== topic) continue;
      this.#readers.delete(name);
      await opened.then(({ reader }) => reader.close()).catch(() => {});
    }
  }
}
