// The worker pool: many sources at once, answers in the order of the sources, bytes in flight bounded.

import { stat } from 'node:fs/promises';
import { WorkerPool } from '#shards';
import type { ResizeResult, ResizeTask } from './resize.ts';

/**
 * Bound of what is under way: each task counts the larger of its source's and its answer's bytes, at least FLOOR.
 * One task always fits. Decoded pixels come on top: one image a worker, at most MAX_PIXELS × 3 bytes.
 */
const IN_FLIGHT_BYTES = 64 * 1024 * 1024;
const FLOOR_BYTES = 64 * 1024;

export interface Answer {
  readonly result: ResizeResult;
  /** Of the source file; 0 where it cannot be read. */
  readonly sourceBytes: number;
}

export interface ResizePool {
  /** Answers in the order of the tasks. Ends early without loose ends when the caller leaves the loop. */
  inOrder(tasks: Iterable<ResizeTask>): AsyncGenerator<Answer>;
  close(): Promise<void>;
}

export async function openPool(workers: number): Promise<ResizePool> {
  const file = new URL('./resize.worker.js', import.meta.url);
  const pool = await WorkerPool.open<ResizeTask, ResizeResult>(file, workers);
  return {
    inOrder: (tasks) => inOrder((task) => pool.run(task), tasks),
    close: () => pool.close(),
  };
}

interface Underway {
  readonly answer: Promise<Answer>;
  cost: number;
}

/** Runs the tasks with the bound above; `run` decides how many work at a time. */
export async function* inOrder(
  run: (task: ResizeTask) => Promise<ResizeResult>,
  tasks: Iterable<ResizeTask>,
): AsyncGenerator<Answer> {
  const queue: Underway[] = [];
  let inFlight = 0;
  const start = async (task: ResizeTask): Promise<void> => {
    const sourceBytes = await sizeOf(task.file);
    const cost = Math.max(sourceBytes, FLOOR_BYTES);
    inFlight += cost;
    const answer = run(task).then((result) => {
      const bytes = result.ok ? result.images.reduce((sum, { jpg }) => sum + jpg.length, 0) : 0;
      inFlight += Math.max(0, bytes - underway.cost);
      underway.cost = Math.max(underway.cost, bytes);
      return { result, sourceBytes };
    });
    // Whoever leaves early never awaits the rest; their failures then have nobody to tell.
    answer.catch(() => {});
    const underway: Underway = { answer, cost };
    queue.push(underway);
  };
  for (const task of tasks) {
    await start(task);
    while (inFlight >= IN_FLIGHT_BYTES) yield* settle();
  }
  while (queue.length > 0) yield* settle();

  async function* settle(): AsyncGenerator<Answer> {
    const head = queue.shift();
    if (!head) return;
    const answer = await head.answer;
    yield answer;
    inFlight -= head.cost;
  }
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    // The worker says why, in its place in the order.
    () => 0,
  );
}
