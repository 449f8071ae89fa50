// What an append must do.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Harness, isFault, MB, numbers } from './harness.ts';

export function appends(harness: Harness): void {
  test('offsets count from 0 in each partition, and a returned offset is where the record is', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport, { partitions: 3 });
    for (const i of numbers(5)) {
      for (const partition of numbers(3)) {
        assert.equal(await transport.append(name, partition, Buffer.from(`${partition}/${i}`)), i);
      }
    }
    assert.deepEqual(await transport.ends(name), Array(3).fill({ begin: 0, end: 5 }));
    const from = await harness.reader(transport, name, [0, 5, 3]);
    assert.deepEqual(await from.next(2), { offset: 3, key: null, value: Buffer.from('2/3') });
    assert.deepEqual(await from.next(0), { offset: 0, key: null, value: Buffer.from('0/0') });
    assert.deepEqual(await from.next(2), { offset: 4, key: null, value: Buffer.from('2/4') });
  });

  test('appends of one partition that are not awaited keep the order of the calls, on a new topic too', async () => {
    const transport = await harness.open();
    const [one, two] = [await harness.topic(transport), await harness.topic(transport)];
    const stranger = await harness.open();
    const calls = numbers(20).map((i) => stranger.append(i % 2 === 0 ? one : two, 0, Buffer.from([i])));
    const at = await Promise.all(calls);
    assert.deepEqual(
      at,
      numbers(20).map((i) => Math.floor(i / 2)),
    );
  });

  test('interleaved appends of several partitions and two transports lose and double nothing', async () => {
    const transports = [await harness.open(), await harness.open()] as const;
    const name = await harness.topic(transports[0], { partitions: 4 });
    const expected = numbers(4).map(() => new Map<number, string>());
    const writers = transports.flatMap((transport, who) =>
      numbers(4).map(async (partition) => {
        for (const i of numbers(25)) {
          const text = `${who}/${partition}/${i}`;
          expected[partition]?.set(await transport.append(name, partition, Buffer.from(text)), text);
        }
      }),
    );
    await Promise.all(writers);
    const from = await harness.reader(transports[1], name, [0, 0, 0, 0]);
    for (const partition of numbers(4)) {
      assert.equal(expected[partition]?.size, 50);
      for (const offset of numbers(50)) {
        const record = await from.next(partition);
        assert.deepEqual([record?.offset, record?.value.toString()], [offset, expected[partition]?.get(offset)]);
      }
    }
  });

  test('two processes append to one partition and one is killed: what was acknowledged is there once', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport);
    const child = fileURLToPath(new URL('append-child.js', import.meta.url));
    const acknowledged = new Map<number, string>();
    const run = async (writer: number, count: number, killAfter: number) => {
      const process = spawn(
        globalThis.process.execPath,
        [child, harness.url, name, '0', `${writer}`, `${count}`, '5000'],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      harness.onEnd(() => process.kill('SIGKILL'));
      const ended = once(process, 'exit');
      for await (const line of createInterface({ input: process.stdout })) {
        const [i, offset] = line.split(' ').map(Number);
        acknowledged.set(Number(offset), `${writer}/${i}`);
        if (i === killAfter) process.kill('SIGKILL');
      }
      const [code] = await ended;
      assert.equal(code, killAfter < count ? null : 0);
    };
    await Promise.all([run(0, 60, 60), run(1, 100_000, 30)]);
    const [extent] = await transport.ends(name);
    const end = extent?.end ?? 0;
    const from = await harness.reader(transport, name, [0]);
    const next = new Map([0, 1].map((writer) => [writer, 0]));
    for (const offset of numbers(end)) {
      const record = await from.next(0);
      assert.ok(record !== null);
      assert.equal(record.offset, offset);
      const [writer, i] = [record.value.readUInt32LE(0), record.value.readUInt32LE(4)];
      assert.equal(i, next.get(writer), 'each writer in order, nothing lost or doubled');
      next.set(writer, i + 1);
      assert.equal(acknowledged.get(offset) ?? `${writer}/${i}`, `${writer}/${i}`);
      acknowledged.delete(offset);
    }
    assert.equal(acknowledged.size, 0);
    assert.equal(next.get(0), 60);
  });

  test('records of every size up to the topic’s largest come back as they were, and a larger one is refused', async () => {
    const transport = await harness.open();
    const largest = 3 * MB + 12_345;
    const name = await harness.topic(transport, { maxRecordBytes: largest });
    const values = [0, 1, MB, largest].map((bytes) => randomBytes(bytes));
    const key = 'k'.repeat(512);
    for (const value of values) await transport.append(name, 0, value, key);
    // A view into a larger buffer, as a pool's result is.
    await transport.append(name, 0, new Uint8Array(Buffer.concat(values).buffer, 1, MB));
    await assert.rejects(transport.append(name, 0, Buffer.alloc(largest + 100_000)), isFault('record-too-large'));
    await assert.rejects(transport.append(name, 0, Buffer.alloc(1), `${key}k`), isFault('key-too-long'));
    const from = await harness.reader(transport, name, [0]);
    for (const value of values) {
      const record = await from.next(0);
      assert.ok(record?.value.equals(value));
      assert.equal(record?.key, key);
    }
    assert.equal((await from.next(0))?.value.length, MB);
    assert.deepEqual(await transport.ends(name), [{ begin: 0, end: 5 }]);
  });

  test('a key is null or any string', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport);
    const keys = ['', 'trainer-0/3', 'Größe ✓ 🐌', '\0\x01\x02 \x7f', 'z'.repeat(512)];
    for (const key of keys) await transport.append(name, 0, Buffer.from('value'), key);
    await transport.append(name, 0, Buffer.from('value'));
    const from = await harness.reader(transport, name, [0]);
    for (const key of [...keys, null]) assert.equal((await from.next(0))?.key, key);
  });
}
