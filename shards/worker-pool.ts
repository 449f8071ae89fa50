// A piscina pool that lets its workers finish: one that is terminated inside native code (libjpeg-turbo, libvips) throws
// where nobody can catch, and takes the whole process along.

import type { ResourceLimits } from 'node:worker_threads';
import type { Piscina } from 'piscina';

export class WorkerPool<Task, Result> {
  readonly #pool: Piscina<Task, Result>;
  readonly #limit: number;
  readonly #running = new Set<Promise<Result>>();
  #waiting: (() => void)[] = [];
  #closed = false;

  private constructor(pool: Piscina<Task, Result>, limit: number) {
    this.#pool = pool;
    this.#limit = limit;
  }

  /** `file`: the built module whose default export runs a task. `resourceLimits` bound each worker's heap. */
  static async open<Task, Result>(
    file: URL,
    workers: number,
    resourceLimits: ResourceLimits = {},
  ): Promise<WorkerPool<Task, Result>> {
    const { Piscina } = await import('piscina');
    const threads = { minThreads: workers, maxThreads: workers };
    const pool = new Piscina<Task, Result>({ filename: file.href, ...threads, resourceLimits });
    // The next task of each worker stands ready; the others wait here, where closing can still drop them.
    return new WorkerPool(pool, 2 * workers);
  }

  /** Rejects with the worker's error, or when the pool was closed before the task was begun. */
  async run(task: Task): Promise<Result> {
    while (this.#running.size >= this.#limit && !this.#closed)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#closed) throw new Error('the pool is closed');
    const result = this.#pool.run(task);
    this.#running.add(result);
    try {
      return await result;
    } finally {
      this.#running.delete(result);
      this.#waiting.shift()?.();
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Drops what was not begun, waits for what was, ends the workers. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const wake of this.#waiting.splice(0)) wake();
    await Promise.allSettled(this.#running);
    await this.#pool.destroy();
  }
}
