// What a reader must do.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Harness, isFault, MB, numbers, offsets } from './harness.ts';

export function reads(harness: Harness): void {
  test('a waiting reader wakes when another transport appends', async () => {
    const [transport, writer] = [await harness.open(), await harness.open()];
    const name = await harness.topic(transport, { partitions: 2 });
    const from = await harness.reader(transport, name, [0, 0]);
    for (const partition of [1, 0, 1]) {
      const waiting = from.next(partition);
      await writer.append(name, partition, Buffer.from(`for ${partition}`));
      assert.equal((await waiting)?.value.toString(), `for ${partition}`);
    }
  });

  test('a reader that stands at the end waits there', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport);
    await transport.append(name, 0, Buffer.from('before'));
    const from = await harness.reader(transport, name, [1]);
    const waiting = from.next(0);
    await transport.append(name, 0, Buffer.from('after'));
    assert.equal((await waiting)?.offset, 1);
  });

  test('a seek goes backward and forward while reading, and moves a call that waits', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport, { partitions: 2 });
    for (const i of numbers(40)) {
      for (const partition of [0, 1]) await transport.append(name, partition, Buffer.alloc(10_000, i));
    }
    const from = await harness.reader(transport, name, [0, 0], 50_000);
    assert.deepEqual(await offsets(from, 0, 5), numbers(5));
    from.seek(0, 30);
    assert.deepEqual(await offsets(from, 0, 3), [30, 31, 32]);
    from.seek(0, 2);
    assert.deepEqual(await offsets(from, 0, 38), numbers(38, 2));
    assert.deepEqual(await offsets(from, 1, 3), [0, 1, 2], 'the other partition stays where it was');
    const waiting = from.next(0);
    from.seek(0, 39);
    assert.equal((await waiting)?.offset, 39);
    for (const place of [7, 20, 3, 38, 0]) {
      from.seek(1, place);
      assert.equal((await from.next(1))?.value[0], place);
    }
  });

  test('a reader that is not read from holds no more than its bound', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport, { partitions: 2 });
    const values = numbers(50).map((i) => Buffer.alloc(MB, i));
    for (const [i, value] of values.entries()) await transport.append(name, i % 2, value);
    const bound = 2 * MB;
    const from = await harness.reader(transport, name, [0, 0], bound);
    // The log holds nothing at all; Kafka's reader fetches ahead. Everything that follows is checked on the way.
    if (harness.url.startsWith('kafka:')) while (from.bufferedBytes < bound) await sleep(5);
    for (const i of numbers(50)) {
      assert.ok(from.bufferedBytes <= 2 * bound, `${from.bufferedBytes} bytes are queued`);
      const record = await from.next(i % 2);
      assert.ok(record?.value.equals(values[i] ?? Buffer.alloc(0)));
      // Time enough to fetch too much, were there no bound.
      if (i % 10 === 0) await sleep(20);
    }
    assert.equal(from.bufferedBytes, 0);
  });

  test('a record larger than the bound of the queue is read all the same', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport, { partitions: 2 });
    const value = randomBytes(MB);
    for (const partition of [0, 1, 0, 1, 0]) await transport.append(name, partition, value);
    const from = await harness.reader(transport, name, [0, 0], 1000);
    for (const partition of [1, 0, 0, 1, 0]) assert.ok((await from.next(partition))?.value.equals(value));
  });

  test('close ends a waiting call with null, and later calls are refused', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport);
    const [one, two] = [await harness.reader(transport, name, [0]), await harness.reader(transport, name, [0])];
    const waiting = [one.next(0), one.next(0), two.next(0)];
    await one.close();
    await transport.close();
    assert.deepEqual(await Promise.all(waiting), [null, null, null]);
    assert.equal(await two.next(0), null);
    await assert.rejects(transport.append(name, 0, Buffer.from('x')), isFault('transport-closed'));
    await assert.rejects(transport.ends(name), isFault('transport-closed'));
  });
}
