// What only a broker suffers: lost acknowledgements, cut connections, a crash.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestBroker } from '../../broker.ts';
import type { FaultyProxy } from '../../faults/proxy.ts';
import { type Harness, numbers } from './harness.ts';

export function brokerFaults(harness: Harness, broker: () => TestBroker, before: () => FaultyProxy): void {
  test('acknowledgements are dropped and connections cut: nothing is lost, each lane stays in order', async () => {
    const proxy = before();
    proxy.arm({ seed: 1, oneIn: 8, limits: { requests: 5, acknowledgements: 15, answers: 0 } });
    const direct = await harness.open();
    const name = await harness.topic(direct, { partitions: 4 });
    const cut = await harness.open(proxy.url);
    const written = await Promise.all(
      numbers(4).map(async (partition) => {
        let i = 0;
        for (; i < 40 || proxy.broken < 20; i++) {
          assert.ok(i < 2000, 'the proxy cuts no more');
          const value = Buffer.alloc(50_000, partition);
          value.writeUInt32LE(i);
          await cut.append(name, partition, value);
        }
        return i;
      }),
    );
    assert.equal(proxy.broken, 20);
    assert.ok((cut.counters['lostConnections'] ?? 0) >= 20, 'each lost connection is counted');
    const extents = await direct.ends(name);
    const from = await harness.reader(direct, name, [0, 0, 0, 0]);
    let doubled = 0;
    for (const partition of numbers(4)) {
      let expected = 0;
      for (const offset of numbers(extents[partition]?.end ?? 0)) {
        const record = await from.next(partition);
        assert.equal(record?.offset, offset);
        const i = record.value.readUInt32LE();
        if (i === expected) expected++;
        else {
          assert.equal(i, expected - 1, 'only the last record may stand there twice');
          doubled++;
        }
      }
      assert.equal(expected, written[partition]);
    }
    const replaced = (cut.counters['reappended'] ?? 0) + (cut.counters['producersReplaced'] ?? 0);
    assert.ok(doubled <= replaced, `${doubled} doubled, ${replaced} appended anew`);
  });

  test('a broker that is killed and started again during appends and reads loses and doubles nothing', async () => {
    const [writer, other] = [await harness.open(), await harness.open()];
    const name = await harness.topic(writer, { partitions: 4 });
    const from = await harness.reader(other, name, [0, 0, 0, 0], 100_000);
    const count = 150;
    const value = (partition: number, i: number) => Buffer.alloc(20_000, `${partition}:${i};`);
    let restarted: Promise<void> | undefined;
    const appending = numbers(4).map(async (partition) => {
      for (const i of numbers(count)) {
        if (i === 50 && partition === 0) {
          broker().kill();
          // Where the killed process is not gone yet, the first call reports its end.
          restarted = broker()
            .restart()
            .catch(() => broker().restart());
          harness.onEnd(() => restarted);
        }
        assert.equal(await writer.append(name, partition, value(partition, i)), i);
      }
    });
    const reading = numbers(4).map(async (partition) => {
      for (const i of numbers(count)) {
        const record = await from.next(partition);
        assert.equal(record?.offset, i);
        assert.ok(record.value.equals(value(partition, i)));
      }
    });
    await Promise.all([...appending, ...reading]);
    await restarted;
    assert.equal(broker().transport, harness.url, 'the broker came back under its address');
    assert.ok((writer.counters['lostConnections'] ?? 0) > 0, 'each lost connection is counted');
    assert.ok((other.counters['reconnects'] ?? 0) > 0, 'the reconnects are counted');
  });
}
