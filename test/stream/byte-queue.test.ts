import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ByteQueue } from '../../stream/byte-queue.ts';

const queueOf = (bound: number) => new ByteQueue<number>(bound, (bytes) => bytes);

/** Whether a promise is settled after everything that is ready has run. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

describe('a queue bounded in bytes', () => {
  it('gives items in order and waits for the next', async () => {
    const queue = queueOf(10);
    const first = queue.shift();
    assert.equal(await settled(first), false);
    queue.push(3);
    queue.push(4);
    assert.deepEqual([await first, await queue.shift()], [3, 4]);
  });

  it('has room while the bound holds, and for one item always', async () => {
    const queue = queueOf(10);
    assert.equal(await queue.room(1000), true);
    queue.push(6);
    assert.equal(await queue.room(4), true);
    const full = queue.room(5);
    assert.equal(await settled(full), false);
    await queue.shift();
    assert.equal(await full, true);
  });

  it('ends after what it holds, with its error if there is one, and wakes who waits', async () => {
    const queue = queueOf(10);
    queue.push(9);
    const room = queue.room(5);
    queue.end(new Error('the log is gone'));
    assert.equal(await room, false);
    assert.equal(await queue.shift(), 9);
    await assert.rejects(queue.shift(), /the log is gone/);
    const calm = queueOf(10);
    const waiting = calm.shift();
    calm.end();
    assert.equal(await waiting, null);
  });
});
