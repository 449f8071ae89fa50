// Memory of records that goes round: with a task to a worker, with the record back, and again once that was used.
//
// By transfer, not in slots of shared memory: it is as fast (no byte is copied), a late reader finds detached memory and not
// another record's bytes, and what is lost with a dead worker or a stopped reader is garbage, where a slot would stay taken.

/** Of memory that waits; as all of it was in flight at once before, there is mostly far less. */
const KEEP_BYTES = 64 * 1024 * 1024;

export class RecordMemory {
  readonly #waiting: ArrayBuffer[] = [];
  #bytes = 0;

  /** What was used last, as the processor's cache may still hold it; undefined where none waits. */
  take(): ArrayBuffer | undefined {
    const memory = this.#waiting.pop();
    this.#bytes -= memory?.byteLength ?? 0;
    return memory;
  }

  /** Gives a record's memory back, once however often it is called. Memory that never comes back is garbage. */
  releaserOf(memory: ArrayBuffer): () => void {
    let held: ArrayBuffer | null = memory;
    return () => {
      if (held) this.give(held);
      held = null;
    };
  }

  /** Memory that nobody reads any more. */
  give(memory: ArrayBuffer): void {
    if (this.#bytes + memory.byteLength > KEEP_BYTES) return;
    this.#waiting.push(memory);
    this.#bytes += memory.byteLength;
  }
}
