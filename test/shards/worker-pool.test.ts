import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type WorkerOptions, WorkerPool } from '../../shards/worker-pool.ts';
import { temporaryFolder } from '../packed.ts';

interface Task {
  /** How many tasks have begun, and how many have ended. */
  readonly begun: SharedArrayBuffer;
  readonly ms: number;
  readonly value: number;
}

const openPool = (workers: number, options: WorkerOptions = {}) =>
  WorkerPool.open<Task, number>(new URL('./pool-task.js', import.meta.url), workers, options);

describe('a pool of workers', () => {
  it('answers every task, and a failure with the worker’s error', async () => {
    const pool = await openPool(2);
    const begun = new SharedArrayBuffer(8);
    const values = Array.from({ length: 20 }, (_, value) => value);
    assert.deepEqual(await Promise.all(values.map((value) => pool.run({ begun, ms: 1, value }))), values);
    await assert.rejects(pool.run({ begun, ms: 0, value: -1 }), /value -1/);
    assert.equal(await pool.run({ begun, ms: 0, value: 7 }), 7);
    await pool.close();
  });

  it('when closed lets what has begun end, and drops the rest', async () => {
    const pool = await openPool(2);
    const begun = new SharedArrayBuffer(8);
    const counts = new Int32Array(begun);
    const results = Array.from({ length: 12 }, (_, value) => pool.run({ begun, ms: 30, value }));
    for (const result of results) result.catch(() => {});
    while (Atomics.load(counts, 0) < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    await pool.close();
    const ends = await Promise.allSettled(results);
    const done = ends.filter(({ status }) => status === 'fulfilled').length;
    assert.equal(Atomics.load(counts, 0), Atomics.load(counts, 1), 'nothing was cut off');
    assert.equal(done, Atomics.load(counts, 1));
    assert.ok(done >= 2 && done < 12, `${done} of 12 were done`);
    await assert.rejects(pool.run({ begun, ms: 0, value: 1 }), /closed/);
  });

  it('makes a task when it is its turn, and moves its memory along', async () => {
    const pool = await openPool(1, { tasksPerWorker: 2 });
    const begun = new SharedArrayBuffer(8);
    let made = 0;
    let ended = 0;
    const memories = Array.from({ length: 8 }, () => new ArrayBuffer(8));
    await Promise.all(
      memories.map(async (memory, value) => {
        const make = () => {
          made++;
          return { task: { begun, ms: 1, value }, transfer: [memory] };
        };
        assert.equal(await pool.runMade(make), value);
        ended++;
        assert.ok(made <= ended + 2, `${made} made, ${ended} ended`);
      }),
    );
    assert.ok(memories.every(({ byteLength }) => byteLength === 0));
    await pool.close();
  });

  it('tells of a worker that fails as it starts, before there is a task, and starts another for the first one', async () => {
    process.env['FAILING_START'] = join(temporaryFolder(), 'failed');
    let told: (error: Error) => void = () => {};
    const failed = new Promise<Error>((resolve) => {
      told = resolve;
    });
    const file = new URL('./failing-start.js', import.meta.url);
    const pool = await WorkerPool.open<number, number>(file, 1, { onIdleDeath: (error) => told(error) });
    assert.match((await failed).message, /this start fails/);
    assert.equal(await pool.run(7), 7);
    await pool.close();
  });
});
