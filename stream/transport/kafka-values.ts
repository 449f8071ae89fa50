// Memory of fetched values that goes round: a value is copied out of its answer into that of a released one.

import { RecordMemory } from '../record-memory.ts';

const GRANULE = 64 * 1024;
/** Smaller values have memory of their own, which never comes back. */
const SMALL_BYTES = 256 * 1024;

export class KafkaValues {
  readonly #memory = new RecordMemory();
  readonly #lent = new WeakSet<ArrayBuffer>();
  #largest = 0;

  /** A copy: a view would keep the whole answer alive, with every other partition's records in it. */
  copy(value: Buffer): Buffer {
    if (value.length < SMALL_BYTES) return Buffer.from(value);
    this.#largest = Math.max(this.#largest, value.length);
    // Chunks of a step differ by one image: the smaller ones' memory must do for the larger, or it is made anew each time.
    const bytes = this.#largest <= 2 * value.length ? this.#largest : value.length;
    const old = this.#memory.take();
    const memory = old && old.byteLength >= value.length ? old : new ArrayBuffer(Math.ceil(bytes / GRANULE) * GRANULE);
    this.#lent.add(memory);
    const copy = Buffer.from(memory, 0, value.length);
    value.copy(copy);
    return copy;
  }

  release({ buffer }: Buffer): void {
    if (this.#lent.delete(buffer as ArrayBuffer)) this.#memory.give(buffer as ArrayBuffer);
  }
}
