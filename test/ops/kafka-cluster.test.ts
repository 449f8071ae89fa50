// The cluster that `ops kafka up --brokers 3` runs: three replicas, one broker may go, and it comes back.

import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { Kafka, logLevel } from 'kafkajs';
import { openTransport } from '../../stream/transport/index.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { startCluster, type TestCluster } from '../cluster.ts';
import { run } from '../commands.ts';
import { requirement } from '../requirements.ts';

const TOPIC = 'replicated';

suite('a cluster of three brokers', { ...requirement('kafka'), timeout: 240_000 }, () => {
  let cluster: TestCluster;
  let transport: Transport;
  before(async () => {
    cluster = await startCluster(3);
    transport = await openTransport(cluster.transport);
  });
  after(async () => {
    await transport?.close();
    await cluster?.stop();
  });

  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await run('ops', ['kafka', ...args, '--json']);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  };

  const topicState = async () => {
    const brokers = cluster.transport.slice('kafka://'.length).split(',');
    const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    try {
      return (await admin.fetchTopicMetadata({ topics: [TOPIC] })).topics[0]?.partitions ?? [];
    } finally {
      await admin.disconnect();
    }
  };

  test('is named, not doubled, by a second up, and all of it answers', async () => {
    const again = await json('up', '--brokers', '3', '--dir', cluster.dir);
    assert.equal(again.transport, cluster.transport);
    const status = await json('status', '--dir', cluster.dir);
    assert.deepEqual([status.running, status.answers, status.transport], [true, true, cluster.transport]);
    const pids = status.brokers.map(({ pid }: { pid: number }) => pid);
    assert.equal(new Set(pids).size, 3);
  });

  test('gives a topic three replicas', async () => {
    await transport.createTopics([{ name: TOPIC, partitions: 3, retention: 'forever', maxRecordBytes: 1000 }]);
    for (const { replicas, leader } of await topicState()) {
      assert.deepEqual([...replicas].sort(), [1, 2, 3]);
      assert.ok(leader > 0);
    }
  });

  test('takes records without one of its brokers, which has them all when it is back', async () => {
    await cluster.kill(1);
    for (const partition of [0, 1, 2]) await transport.append(TOPIC, partition, Buffer.from('without'));
    await cluster.restart(1);
    await cluster.untilInSync([TOPIC]);
    for (const partition of [0, 1, 2]) await transport.append(TOPIC, partition, Buffer.from('with'));
    const ends = await transport.ends(TOPIC);
    for (const [partition, { end }] of ends.entries()) {
      const reader = await transport.read({ topic: TOPIC, from: new Map([[partition, 0]]), maxBytes: 10_000 });
      const values = new Set<string>();
      for (let offset = 0; offset < end; offset++) values.add(String((await reader.next(partition))?.value));
      assert.deepEqual([...values], ['without', 'with']);
      await reader.close();
    }
  });

  test('keeps its size, and its ports', async () => {
    for (const size of [[], ['--brokers', '2']]) {
      const { code, stderr } = await run('ops', ['kafka', 'up', ...size, '--dir', cluster.dir]);
      assert.equal(code, 2);
      assert.match(stderr, /^error cluster-size: .* holds a cluster of 3; expected .*\n$/);
    }
    const { code, stderr } = await run('ops', [
      'kafka',
      'up',
      '--brokers',
      '3',
      '--port',
      '9092',
      '--dir',
      cluster.dir,
    ]);
    assert.equal(code, 2);
    assert.match(stderr, /^error usage: --port 9092 for a cluster; .*\n$/);
  });

  test('goes down as a whole and comes back under its address', async () => {
    const down = await json('down', '--dir', cluster.dir);
    assert.equal(down.stopped, true);
    assert.deepEqual(await json('status', '--dir', cluster.dir), { running: false });
    assert.equal((await json('up', '--brokers', '3', '--dir', cluster.dir)).transport, cluster.transport);
    for (const { begin, end } of await transport.ends(TOPIC)) assert.ok(begin === 0 && end >= 2);
  });
});
