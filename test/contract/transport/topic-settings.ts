// What a run that joins topics of others checks of them, on a real broker, and that the remedy it names mends them.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import { Fault } from '#shards';
import { jarFolder } from '../../../ops/kafka/jars.ts';
import { openTransport, type TopicSpec } from '../../../stream/transport/index.ts';
import { TOPIC_RESOURCE } from '../../../stream/transport/kafka-topic-check.ts';
import { type Harness, MB } from './harness.ts';

const run = promisify(execFile);

/** A command line that a Fault tells a person to run, run: without the scripts around Kafka, by their Java class. */
async function runRemedy(command: string): Promise<void> {
  const [script, ...args] = command.split(' ');
  assert.equal(script, 'kafka-configs.sh');
  const java = process.env['JAVA_HOME'] ? join(process.env['JAVA_HOME'], 'bin', 'java') : 'java';
  await run(java, ['-Xmx64m', '-cp', join(jarFolder(), '*'), 'kafka.admin.ConfigCommand', ...args]);
}

export function topicSettings(harness: Harness): void {
  async function administrator(): Promise<Admin> {
    const brokers = [harness.url.slice('kafka://'.length)];
    const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    harness.onEnd(() => admin.disconnect());
    return admin;
  }

  const forever = (name: string): TopicSpec => ({ name, partitions: 1, retention: 'forever', maxRecordBytes: MB });
  const someName = () => `foreign-${randomBytes(6).toString('hex')}`;

  /** A topic as somebody else might have made it. */
  async function make(admin: Admin, topic: string, settings: Record<string, string>): Promise<void> {
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
    await admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: 1, configEntries }] });
  }

  /** Brokers take a moment to go by what was altered. */
  async function settled(admin: Admin, topic: string, name: string, value: string): Promise<void> {
    while ((await settingsOf(admin, topic)).get(name) !== value);
  }

  async function settingsOf(admin: Admin, topic: string): Promise<Map<string, string>> {
    const resources = [{ type: TOPIC_RESOURCE, name: topic }];
    const described = await admin.describeConfigs({ includeSynonyms: false, resources });
    return new Map(
      described.resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]),
    );
  }

  test('every wrong setting of topics that exist is named once, with the commands that mend them', async () => {
    const admin = await administrator();
    const [compacted, plain, good] = [someName(), someName(), someName()];
    await make(admin, compacted, { 'cleanup.policy': 'compact', 'max.message.bytes': '5000' });
    await make(admin, plain, {
      'retention.ms': '1000000',
      'retention.bytes': '7000000',
      'compression.type': 'zstd',
      'segment.bytes': '1048576',
      'max.message.bytes': '1048576',
      'min.insync.replicas': '2',
    });
    const transport = await harness.open();
    await transport.createTopics([forever(good)]);
    const specs = [forever(compacted), { ...forever(plain), maxRecordBytes: 2 * MB }, forever(good)];
    const fault = await transport.createTopics(specs).then(
      () => assert.fail('nothing was wrong'),
      (error: unknown) => error,
    );
    assert.ok(fault instanceof Fault && fault.code === 'topic-settings', String(fault));
    assert.equal(
      fault.received,
      `'${compacted}' cleanup.policy=compact (wanted delete), max.message.bytes=5000 (wanted 1001024); ` +
        `'${plain}' retention.ms=1000000 (wanted -1), retention.bytes=7000000 (wanted -1), ` +
        'max.message.bytes=1048576 (wanted 2001024), segment.bytes=1048576 (wanted 67108864), ' +
        'compression.type=zstd (wanted uncompressed), min.insync.replicas=2 (wanted 1)',
    );
    assert.ok(!fault.message.includes(good));
    const commands = fault.remedy.split('; ');
    assert.equal(commands.length, 2);
    for (const command of commands) await runRemedy(command);
    await settled(admin, compacted, 'cleanup.policy', 'delete');
    await settled(admin, plain, 'min.insync.replicas', '1');
    await transport.createTopics(specs);
    assert.equal(await transport.append(plain, 0, Buffer.alloc(2 * MB)), 0);
  });

  test('what is only less safe than asked for is told once and counted', async () => {
    const admin = await administrator();
    const [safe, poor] = [someName(), someName()];
    const events: string[] = [];
    const transport = await openTransport(`${harness.url}?replication=3`, { onEvent: (event) => events.push(event) });
    harness.onEnd(() => transport.close());
    await make(admin, poor, {});
    for (let i = 0; i < 2; i++) await transport.createTopics([forever(poor)]);
    const found = `warning: topic '${poor}' is kept less safely than asked for: min.insync.replicas=1 (wanted 2), replication=1 (wanted 3)`;
    assert.deepEqual(events, [found]);
    assert.equal(transport.counters['lessSafeTopics'], 1);
    const plain = await harness.open();
    await plain.createTopics([forever(safe)]);
    await plain.createTopics([forever(safe)]);
    assert.equal(plain.counters['lessSafeTopics'], 0);
  });

  test('more copies than there are brokers, asked for or let expect by the URL, are no topics with fewer', async () => {
    const [host] = harness.url.slice('kafka://'.length).split('?');
    for (const [url, copies] of [
      [`${harness.url}?replication=3`, 3],
      [`${harness.url},${host}`, 2],
    ] as const) {
      const transport = await openTransport(url, { patienceMs: 1000 });
      harness.onEnd(() => transport.close());
      const name = someName();
      await assert.rejects(transport.createTopics([forever(name)]), (error: unknown) => {
        assert.ok(error instanceof Fault && error.code === 'too-few-brokers', String(error));
        assert.match(error.message, new RegExp(`1 broker at .*expected ${copies},.*replication=N`));
        return true;
      });
      assert.equal(await transport.partitions(name), null);
    }
  });

  test('a size backstop that is lower than asked for is raised, and nothing else is changed', async () => {
    const admin = await administrator();
    const topic = someName();
    const transport = await harness.open();
    const spec = (maxBytes: number): TopicSpec => ({ ...forever(topic), retention: { maxBytes } });
    await transport.createTopics([spec(10 * MB)]);
    const before = await settingsOf(admin, topic);
    await transport.createTopics([spec(90 * MB)]);
    await settled(admin, topic, 'retention.bytes', String(90 * MB));
    assert.deepEqual(
      [...(await settingsOf(admin, topic))],
      [...before].map(([name, value]) => [name, name === 'retention.bytes' ? String(90 * MB) : value]),
    );
    await transport.createTopics([spec(20 * MB)]);
    assert.equal((await settingsOf(admin, topic)).get('retention.bytes'), String(90 * MB));
  });
}
