// What topics, deletion and compaction must do, and the Faults.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { TopicSpec } from '../../../stream/transport/index.ts';
import { type Harness, isFault, MB, numbers, offsets } from './harness.ts';

export function topics(harness: Harness): void {
  test('deletion moves the begin, and a reader below it goes on there', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport, { partitions: 2 });
    for (const i of numbers(10)) await transport.append(name, 0, Buffer.from([i]));
    await transport.deleteBefore(name, 0, 4);
    await transport.deleteBefore(name, 0, 2);
    assert.deepEqual(await transport.ends(name), [
      { begin: 4, end: 10 },
      { begin: 0, end: 0 },
    ]);
    const from = await harness.reader(transport, name, [1]);
    assert.deepEqual(await offsets(from, 0, 2), [4, 5]);
    from.seek(0, 0);
    assert.deepEqual(await offsets(from, 0, 2), [4, 5]);
  });

  test('offsets go on after everything was deleted', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport);
    for (const i of numbers(5)) await transport.append(name, 0, Buffer.from([i]));
    await transport.deleteBefore(name, 0, 1000);
    assert.deepEqual(await transport.ends(name), [{ begin: 5, end: 5 }]);
    const from = await harness.reader(transport, name, [0]);
    const waiting = from.next(0);
    assert.equal(await transport.append(name, 0, Buffer.from([5])), 5);
    assert.equal((await waiting)?.offset, 5);
  });

  test('a compacted topic gives at least the newest record of each key, in order', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport, { retention: 'compact', maxRecordBytes: 1000 });
    const keys = ['b', 'a', 'c', 'a', 'a', 'b'];
    for (const [i, key] of keys.entries()) {
      assert.equal(await transport.append(name, 0, Buffer.from([i]), key), i);
    }
    const from = await harness.reader(transport, name, [0]);
    const newest = new Map<string | null, number>();
    let last = -1;
    while (last < 5) {
      const record = await from.next(0);
      assert.ok(record !== null && record.offset > last);
      last = record.offset;
      newest.set(record.key, last);
    }
    assert.deepEqual(Object.fromEntries(newest), { a: 4, b: 5, c: 2 });
    await assert.rejects(transport.append(name, 0, Buffer.from('keyless')), isFault('key-missing'));
  });

  test('a topic asked for with a higher size backstop is there as before', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport, { retention: { maxBytes: 10 * MB } });
    await transport.append(name, 0, Buffer.from([1]));
    const spec: TopicSpec = { name, partitions: 1, retention: { maxBytes: 90 * MB }, maxRecordBytes: MB };
    await transport.createTopics([spec]);
    await transport.append(name, 0, randomBytes(1000));
    assert.deepEqual(await transport.ends(name), [{ begin: 0, end: 2 }]);
  });

  test('topics can be created twice and in a race; another partition count is refused by name', async () => {
    const transports = await Promise.all(numbers(3).map(() => harness.open()));
    const specs = numbers(3).map(
      (i): TopicSpec => ({
        name: `race-${randomBytes(6).toString('hex')}`,
        partitions: i + 1,
        retention: [{ maxBytes: 100 * MB }, 'compact', 'forever'][i] as TopicSpec['retention'],
        maxRecordBytes: MB,
      }),
    );
    await Promise.all(transports.map((transport, i) => transport.createTopics(i === 2 ? specs : [...specs].reverse())));
    await transports[0]?.createTopics(specs);
    for (const [i, { name }] of specs.entries()) {
      assert.equal(await transports[i]?.partitions(name), i + 1);
      assert.equal(await transports[0]?.append(name, i, Buffer.from('x'), 'key'), 0);
    }
    const other = specs.map((spec) => ({ ...spec, partitions: 3 }));
    await assert.rejects(async () => transports[1]?.createTopics(other), isFault('topic-mismatch'));
  });

  test('a topic that was deleted is unknown, and made anew it is empty', async () => {
    const [transport, other] = [await harness.open(), await harness.open()];
    const name = await harness.topic(transport, { partitions: 2 });
    await other.append(name, 1, Buffer.from('old'));
    await transport.deleteTopics([name, 'never-there']);
    assert.equal(await other.partitions(name), null);
    await other.createTopics([{ name, partitions: 3, retention: 'forever', maxRecordBytes: MB }]);
    assert.equal(await other.append(name, 1, Buffer.from('new')), 0);
    assert.deepEqual((await transport.ends(name))[1], { begin: 0, end: 1 });
  });

  test('an unknown topic, partition or offset is a Fault', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport, { partitions: 2 });
    await transport.append(name, 0, Buffer.from('x'));
    assert.equal(await transport.partitions('no-such'), null);
    for (const call of [
      () => transport.append('no-such', 0, Buffer.from('x')),
      () => transport.ends('no-such'),
      () => harness.reader(transport, 'no-such', [0]),
      () => transport.deleteBefore('no-such', 0, 0),
    ]) {
      await assert.rejects(call, isFault('unknown-topic'));
    }
    await assert.rejects(transport.append(name, 2, Buffer.from('x')), isFault('unknown-partition'));
    await assert.rejects(harness.reader(transport, name, [0, 0, 0]), isFault('unknown-partition'));
    await assert.rejects(harness.reader(transport, name, [2]), isFault('offset-out-of-range'));
    const from = await harness.reader(transport, name, [0, 0]);
    from.seek(0, 2);
    await assert.rejects(from.next(0), isFault('offset-out-of-range'));
    from.seek(0, 0);
    assert.equal((await from.next(0))?.offset, 0, 'a seek to where the log is heals it');
  });
}
