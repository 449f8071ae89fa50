// A piscina pool that lets its workers finish: one that is terminated inside native code (libjpeg-turbo, libvips) throws
// where nobody can catch, and takes the whole process along.

import type { ResourceLimits } from 'node:worker_threads';
import type { Piscina } from 'piscina';

/** `resourceLimits` of Node for each worker, and: */
export interface WorkerOptions extends ResourceLimits {
  /** Tasks that a worker holds at once, 1 or 2; with 2 the next one stands ready when it ends one. */
  readonly tasksPerWorker?: 1 | 2;
  /** A worker failed without a task, as when it starts: nothing is lost, another takes its place when it is needed. */
  readonly onIdleDeath?: (error: Error) => void;
}

const warn = (error: Error) => process.emitWarning(`a worker without a task failed: ${error.message}`);

/** A task with the memory that moves to the worker along with it. */
export interface Posting<Task> {
  readonly task: Task;
  readonly transfer: readonly ArrayBuffer[];
}

/** So many in a row without an answered task, and no other is started. */
const MOST_DEATHS = 20;
const NO_TASK = new URL('./no-task.worker.js', import.meta.url).href;

export class WorkerPool<Task, Result> {
  readonly #pool: Piscina<Task, Result>;
  readonly #limit: number;
  /** With what ends the wait for each. */
  readonly #running = new Map<Promise<Result>, (error: Error) => void>();
  #waiting: (() => void)[] = [];
  #closed = false;
  /** Workers that ended since a task was answered. */
  #deaths = 0;

  private constructor(pool: Piscina<Task, Result>, limit: number) {
    this.#pool = pool;
    this.#limit = limit;
    // piscina is in the middle of the removal.
    pool.on('workerDestroy', () => setImmediate(() => this.#startAnother()));
  }

  /** `file`: the built module whose default export runs a task. */
  static async open<Task, Result>(
    file: URL,
    workers: number,
    { tasksPerWorker = 1, onIdleDeath = warn, ...resourceLimits }: WorkerOptions = {},
  ): Promise<WorkerPool<Task, Result>> {
    const { Piscina } = await import('piscina');
    const threads = { minThreads: workers, maxThreads: workers, concurrentTasksPerWorker: tasksPerWorker };
    const pool = new Piscina<Task, Result>({ filename: file.href, ...threads, resourceLimits });
    // Without a listener piscina's event ends the process.
    pool.on('error', onIdleDeath);
    // A task runs and another stands ready for each worker; the others wait here, where closing can still drop them.
    return new WorkerPool(pool, 2 * workers);
  }

  /** Rejects with the worker's error, or when the pool was closed before the task was begun. */
  run(task: Task): Promise<Result> {
    return this.runMade(() => ({ task, transfer: [] }));
  }

  /** As `run`, with a task that is made when it is its turn: memory is taken no sooner than a worker can use it. */
  async runMade(make: () => Posting<Task>): Promise<Result> {
    while (this.#running.size >= this.#limit && !this.#closed)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#closed) throw new Error('the pool is closed');
    const { task, transfer } = make();
    let abandon: (error: Error) => void = () => undefined;
    const result = new Promise<Result>((resolve, reject) => {
      abandon = reject;
      this.#pool.run(task, { transferList: [...transfer] }).then(resolve, reject);
    });
    this.#running.set(result, abandon);
    try {
      const value = await result;
      this.#deaths = 0;
      return value;
    } finally {
      this.#running.delete(result);
      this.#waiting.shift()?.();
    }
  }

  /**
   * In place of a worker that ended as it started piscina starts another only when it is given a task: those that wait in its
   * queue would wait for ever, as the next is given when one of these is done. So it is given one that does nothing.
   */
  #startAnother(): void {
    if (this.#closed || this.#running.size === 0) return;
    if (++this.#deaths > MOST_DEATHS) {
      const error = new Error(`${this.#deaths} workers ended, one after the other, without an answered task`);
      for (const abandon of this.#running.values()) abandon(error);
    } else if (this.#pool.threads.length === 0)
      this.#pool.run(null as Task, { filename: NO_TASK }).catch(() => undefined);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Drops what was not begun, waits for what was, ends the workers. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const wake of this.#waiting.splice(0)) wake();
    await Promise.allSettled(this.#running.keys());
    await this.#pool.destroy();
  }
}
