// The compose file of three brokers, as far as it can be told without Docker: its parts agree, and agree with ours.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { serverProperties } from '../../ops/kafka/config.ts';
import { KAFKA_VERSION } from '../../ops/kafka/jars.ts';
import { packageRoot } from '../../ops/setup/plain.ts';
import { parseKafkaUrl } from '../../stream/transport/kafka-url.ts';

interface Service {
  readonly image: string;
  readonly hostname: string;
  readonly ports: readonly string[];
  readonly volumes: readonly string[];
  readonly environment: Readonly<Record<string, string | number>>;
}

const text = readFileSync(fileURLToPath(new URL('ops/kafka/compose.yaml', packageRoot)), 'utf8');
const compose = parse(text, { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, null>>;
};
const services = Object.entries(compose.services);

/** What the image makes of its environment: KAFKA_ABC_DEF is abc.def. */
const settingsOf = ({ environment }: Service): Map<string, string> =>
  new Map(
    Object.entries(environment)
      .filter(([name]) => name.startsWith('KAFKA_') && name !== 'KAFKA_HEAP_OPTS')
      .map(([name, value]) => [name.slice('KAFKA_'.length).toLowerCase().replaceAll('_', '.'), String(value)]),
  );

/** NAME → HOST:PORT of a list of listeners. */
const listeners = (list = ''): Map<string, string> =>
  new Map(list.split(',').map((each) => each.split('://') as [string, string]));

describe('the compose file', () => {
  test('has three brokers of the Kafka that ops kafka runs, each with a name, a number and a volume of its own', () => {
    assert.deepEqual(
      services.map(([name]) => name),
      ['kafka-1', 'kafka-2', 'kafka-3'],
    );
    for (const [i, [name, service]] of services.entries()) {
      assert.equal(service.image, `apache/kafka:${KAFKA_VERSION}`);
      assert.equal(service.hostname, name);
      assert.equal(settingsOf(service).get('node.id'), String(i + 1));
      assert.deepEqual(service.volumes, [`${name}:${settingsOf(service).get('log.dirs')}`]);
      assert.ok(name in compose.volumes);
    }
  });

  test('sends clients to published ports of 127.0.0.1, and brokers to each other by name', () => {
    for (const [name, service] of services) {
      const settings = settingsOf(service);
      const bound = listeners(settings.get('listeners'));
      const advertised = listeners(settings.get('advertised.listeners'));
      const portOf = (listener: string) => bound.get(listener)?.replace(':', '');
      assert.deepEqual(service.ports, [`${advertised.get('CLIENT')}:${portOf('CLIENT')}`]);
      assert.match(advertised.get('CLIENT') ?? '', /^127\.0\.0\.1:\d+$/);
      const between = settings.get('inter.broker.listener.name') ?? '';
      assert.equal(advertised.get(between), `${name}:${portOf(between)}`);
      const voters = services.map(([host], i) => `${i + 1}@${host}:${portOf('CONTROLLER')}`);
      assert.equal(settings.get('controller.quorum.voters'), voters.join(','));
      assert.equal(settings.get('controller.listener.names'), 'CONTROLLER');
      const protocols = [...bound.keys()].map((listener) => `${listener}:PLAINTEXT`);
      assert.equal(settings.get('listener.security.protocol.map'), protocols.join(','));
    }
    const ids = new Set(services.map(([, { environment }]) => environment['CLUSTER_ID']));
    assert.equal(ids.size, 1);
    assert.equal(Buffer.from(String([...ids][0]), 'base64url').length, 16);
    const [url = ''] = /kafka:\/\/\S+/.exec(text) ?? [];
    const published = services.map(([, { ports }]) => ports[0]?.replace(/:\d+$/, ''));
    assert.deepEqual(parseKafkaUrl(url).brokers, published);
  });

  test('keeps every topic on three brokers, of which two acknowledge', () => {
    for (const [, service] of services) {
      for (const [name, value] of settingsOf(service)) {
        if (/replication\.factor$/.test(name)) assert.equal(value, '3', name);
        if (/min\.(isr|insync\.replicas)$/.test(name)) assert.equal(value, '2', name);
      }
      assert.ok(
        settingsOf(service).has('default.replication.factor') && settingsOf(service).has('min.insync.replicas'),
      );
    }
  });

  test('differs from the single broker only where it must: roles, places, copies, and what suits a small machine', () => {
    const single = serverProperties({ port: 1, controllerPort: 2 }, '/data');
    const ours = new Map(
      single
        .trim()
        .split('\n')
        .map((line) => line.split(/=(.*)/s, 2) as [string, string]),
    );
    const must = /listener|node\.id|quorum|log\.dirs|replication\.factor|min\.(isr|insync)/;
    for (const [, service] of services) {
      const settings = [...settingsOf(service)].filter(([name]) => !must.test(name));
      assert.ok(settings.length >= 6);
      for (const [name, value] of settings) assert.equal(value, ours.get(name), name);
    }
  });
});
