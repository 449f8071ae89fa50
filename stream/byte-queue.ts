// A queue that is bounded in bytes.

/** Items with a size in bytes between a lane's reading and the trainer; at least one fits. */
export class ByteQueue<Item> {
  readonly #items: Item[] = [];
  readonly #sizeOf: (item: Item) => number;
  readonly #bound: number;
  #bytes = 0;
  #wake: (() => void)[] = [];
  #end: { error: unknown } | null = null;

  constructor(bound: number, sizeOf: (item: Item) => number) {
    this.#bound = bound;
    this.#sizeOf = sizeOf;
  }

  async #changed(): Promise<void> {
    await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  #notify(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Waits for room for an item of `size` bytes; false once the queue has ended. */
  async room(size: number): Promise<boolean> {
    while (!this.#end && this.#items.length > 0 && this.#bytes + size > this.#bound) await this.#changed();
    return this.#end === null;
  }

  push(item: Item): void {
    this.#items.push(item);
    this.#bytes += this.#sizeOf(item);
    this.#notify();
  }

  /** The next item; null after the end; throws the error that ended it. */
  async shift(): Promise<Item | null> {
    while (this.#items.length === 0 && !this.#end) await this.#changed();
    const item = this.#items.shift();
    if (item === undefined) {
      if (this.#end?.error) throw this.#end.error;
      return null;
    }
    this.#bytes -= this.#sizeOf(item);
    this.#notify();
    return item;
  }

  end(error: unknown = null): void {
    this.#end ??= { error };
    this.#notify();
  }
}
