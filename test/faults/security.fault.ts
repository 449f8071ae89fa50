// Who may not enter a Kafka cluster, or do something there, learns it at once in one line; who may, works as ever.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { type AclEntry, type Admin, type Cluster, Kafka, logLevel } from 'kafkajs';
import { Fault } from '#shards';
import { Feed } from '../../stream/feed.ts';
import { topicsOf } from '../../stream/topics.ts';
import { openTransport, type TopicSpec, type Transport } from '../../stream/transport/index.ts';
import { createClient, failureOf } from '../../stream/transport/kafka-client.ts';
import { securityOf } from '../../stream/transport/kafka-security.ts';
import { parseKafkaUrl } from '../../stream/transport/kafka-url.ts';
import { type Ended, run } from '../commands.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { passwordOf, type SecuredBroker, startSecuredBroker } from './secured-broker.ts';

const PREFIX = 'MEDIUM_RECIPE_KAFKA_';
const WRONG = 'wrong-secret-77aa';

/** Kafka's numbers, as kafkajs' own enums would have to be loaded. */
const TOPIC = 2;
const GROUP = 3;
const OPERATIONS = { read: 3, write: 4, create: 5, delete: 6, describe: 8, alterConfigs: 11 } as const;
const ALLOW = 3;
const LITERAL = 3;
const PREFIXED = 4;
type Right = keyof typeof OPERATIONS;

/** The least that stream/transport/README.md lists: for topics that begin with a run's name and a dot. */
const PRODUCER: readonly Right[] = ['create', 'read', 'write', 'delete', 'alterConfigs'];

/** What the transport takes from the environment, for the process and its children, until the case is over. */
function asUser(variables: Record<string, string>): void {
  for (const name of Object.keys(process.env)) if (name.startsWith(PREFIX)) delete process.env[name];
  for (const [name, value] of Object.entries(variables)) process.env[PREFIX + name] = value;
}
const user = (name: string, password = passwordOf(name)) => ({ USERNAME: name, PASSWORD: password });

/** One line with code, cause and remedy, and neither a password nor a place in the code. */
function assertOneLine(line: string, code: string, mentions: RegExp): void {
  assert.match(line, new RegExp(`^(error )?${code}: [^\\n]+; expected [^\\n]+; [^\\n]+\\n?$`));
  assert.match(line, mentions);
  assertNoSecret(line);
}

function assertNoSecret(text: string): void {
  for (const secret of [WRONG, passwordOf('writer'), passwordOf('reader'), passwordOf('stranger')]) {
    assert.ok(!text.includes(secret), text);
  }
  assert.doesNotMatch(text, /\n +at |node_modules/);
}

const refusal =
  (code: string, mentions = /./) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof Fault, error instanceof Error ? error.stack : String(error));
    assertOneLine(error.message, code, mentions);
    assertNoSecret(JSON.stringify(error));
    return true;
  };

function assertRefused(ended: Ended, code: string, mentions: RegExp): void {
  assert.equal(ended.code, 1, ended.stderr);
  assertOneLine(ended.stderr, code, mentions);
  const last = JSON.parse(ended.stdout.trim().split('\n').at(-1) ?? '') as { error: { code: string } };
  assert.equal(last.error.code, code);
  assertNoSecret(ended.stdout);
}

/** A transport waits 120 s for a broker that may come back; no refusal may take that long. */
const timeout = 60_000;

describe('wrong password, expired certificate, broker without the topic rights', requirement('kafka'), () => {
  let secured: SecuredBroker;
  let admin: Admin;
  const cleanups: (() => unknown)[] = [];

  before(async () => {
    secured = await startSecuredBroker();
    const brokers = [secured.broker.transport.slice('kafka://'.length)];
    admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    asUser({});
  });
  after(async () => {
    await admin?.disconnect();
    await secured?.broker.stop();
  });

  const doors = {
    users: () => `kafka://${secured.at('users')}?tls=true&sasl=scram-sha-512&ca=${secured.files.ca}`,
    clear: (mechanism = 'plain') => `kafka://${secured.at('clear')}?sasl=${mechanism}`,
    tls: (listener: 'mutual' | 'expired' | 'elsewhere', more = '') =>
      `kafka://${secured.at(listener)}?tls=true&ca=${secured.files.ca}${more}`,
  };

  async function open(url: string, onEvent: (event: string) => void = () => {}): Promise<Transport> {
    const transport = await openTransport(url, { onEvent });
    cleanups.push(() => transport.close());
    return transport;
  }

  const spec = (name: string, more: Partial<TopicSpec> = {}): TopicSpec => ({
    name,
    partitions: 1,
    retention: 'forever',
    maxRecordBytes: 1_000_000,
    ...more,
  });

  const entry = (principal: string, right: Right, resource: Partial<AclEntry>): AclEntry => ({
    principal: `User:${principal}`,
    host: '*',
    operation: OPERATIONS[right],
    permissionType: ALLOW,
    resourceType: TOPIC,
    resourcePatternType: LITERAL,
    resourceName: '',
    ...resource,
  });
  const ofTopics = (resourceName: string) => ({ resourceName, resourcePatternType: PREFIXED });

  /** Resolves when the broker goes by them. */
  async function grant(acl: AclEntry[]): Promise<void> {
    await admin.createAcls({ acl });
    const held = async (wanted: AclEntry) => (await admin.describeAcls(wanted)).resources.length > 0;
    for (const wanted of acl) while (!(await held(wanted)));
  }

  async function takeAway(right: AclEntry): Promise<void> {
    await admin.deleteAcls({ filters: [right] });
    while ((await admin.describeAcls(right)).resources.length > 0);
  }

  describe('who does not get in', { timeout }, () => {
    const cases: readonly [what: string, url: () => string, env: Record<string, string>, code: string, says: RegExp][] =
      [
        [
          'a wrong password (SCRAM over TLS)',
          doors.users,
          user('writer', WRONG),
          'kafka-authentication',
          /wrong password.*_PASSWORD_FILE/,
        ],
        ['an unknown user', doors.users, user('nobody', WRONG), 'kafka-authentication', /unknown user/],
        [
          'a wrong password (PLAIN)',
          () => doors.clear(),
          user('writer', WRONG),
          'kafka-authentication',
          /wrong password/,
        ],
        [
          'a mechanism that is not enabled',
          () => doors.clear('scram-sha-512'),
          user('writer'),
          'kafka-authentication',
          /sasl\.enabled\.mechanisms/,
        ],
        [
          'a user at a listener without any',
          () => `${secured.broker.transport}?sasl=plain`,
          user('writer'),
          'kafka-authentication',
          /leave out sasl=/,
        ],
        ['nobody where a user is wanted', () => `kafka://${secured.at('clear')}`, {}, 'kafka-tls', /add sasl=/],
        ['plain requests to a TLS port', () => `kafka://${secured.at('expired')}`, {}, 'kafka-tls', /add tls=true/],
        ['TLS to a plain port', () => `${secured.broker.transport}?tls=true`, {}, 'kafka-tls', /leave out tls=true/],
        [
          'an untrusted certificate',
          () => `kafka://${secured.at('users')}?tls=true&sasl=scram-sha-512&ca=${secured.files.otherCa}`,
          user('writer'),
          'kafka-certificate',
          /nobody known.*CA_FILE/,
        ],
        [
          'a certificate that nobody was told to trust',
          () => `kafka://${secured.at('users')}?tls=true&sasl=scram-sha-512`,
          user('writer'),
          'kafka-certificate',
          /nobody known.*ca=FILE/,
        ],
        ['an expired certificate', () => doors.tls('expired'), {}, 'kafka-certificate', /expired.*renew/],
        [
          'a certificate for another host',
          () => doors.tls('elsewhere'),
          {},
          'kafka-certificate',
          /127\.0\.0\.2.*advertised\.listeners/,
        ],
        [
          'no certificate where one is wanted',
          () => doors.tls('mutual'),
          {},
          'kafka-certificate',
          /refuses ours.*CERT_FILE/,
        ],
        [
          'a certificate that the broker does not trust',
          () => doors.tls('mutual', `&cert=${secured.files.otherCert}&key=${secured.files.otherKey}`),
          {},
          'kafka-certificate',
          /refuses ours/,
        ],
      ];
    for (const [what, url, env, code, says] of cases) {
      test(what, async () => {
        asUser(env);
        await assert.rejects(openTransport(url()), refusal(code, says));
      });
    }

    test('the commands say the same in one line, and --json too', async () => {
      const folder = temporaryFolder();
      const secretFile = join(folder, 'password');
      await writeFile(secretFile, `${WRONG}\n`);
      asUser({ USERNAME: 'writer', PASSWORD_FILE: secretFile });
      const target = ['--run', 'any', '--transport', doors.users(), '--json'];
      const says = /wrong password/;
      assertRefused(await run('stream', ['status', ...target]), 'kafka-authentication', says);
      const consume = ['consume', ...target, '--out', join(folder, 'out'), '--backend', 'wasm'];
      assertRefused(await run('trainer', consume), 'kafka-authentication', says);
    });
  });

  describe('who gets in', { timeout }, () => {
    for (const [what, url, env] of [
      ['by SCRAM-SHA-512 over TLS', () => doors.users(), user('writer')],
      ['by SCRAM-SHA-256', () => doors.clear('scram-sha-256'), user('writer')],
      [
        'by a certificate of its own',
        () => doors.tls('mutual', `&cert=${secured.files.cert}&key=${secured.files.key}`),
        {},
      ],
    ] as const) {
      test(what, async () => {
        asUser(env);
        const events: string[] = [];
        const transport = await open(url(), (event) => events.push(event));
        assert.equal(transport.url, url());
        assert.deepEqual(events, []);
        assert.equal(transport.counters['lostConnections'], 0);
      });
    }

    test('by PLAIN without TLS, which is told and counted', async () => {
      asUser(user('writer'));
      const events: string[] = [];
      const transport = await open(doors.clear(), (event) => events.push(event));
      assert.match(events.join('\n'), /^warning: .*password.*in clear$/);
      assert.equal(transport.counters['passwordInClear'], 1);
    });
  });

  describe('rights', { timeout }, () => {
    /** Everything that a producer does to its topics. */
    async function produceTo(transport: Transport, topic: string): Promise<void> {
      await transport.createTopics([spec(topic, { retention: { maxBytes: 10_000_000 } })]);
      await transport.createTopics([spec(topic, { retention: { maxBytes: 50_000_000 } })]);
      await transport.append(topic, 0, Buffer.from('record'));
      await transport.ends(topic);
      const reader = await transport.read({ topic, from: new Map([[0, 0]]), maxBytes: 1000 });
      try {
        assert.equal((await reader.next(0))?.offset, 0);
      } finally {
        await reader.close();
      }
      await transport.deleteBefore(topic, 0, 1);
    }

    test('a stranger may do nothing, and each refusal names what was refused', async () => {
      const topic = `closed.${randomBytes(4).toString('hex')}`;
      await admin.createTopics({ topics: [{ topic }] });
      asUser(user('stranger'));
      const transport = await open(doors.users());
      const denied = refusal('kafka-authorization', new RegExp(`TOPIC_AUTHORIZATION_FAILED.*${topic}.*kafka-acls`));
      await assert.rejects(transport.createTopics([spec(topic)]), denied);
      await assert.rejects(transport.append(topic, 0, Buffer.from('x')), denied);
      await assert.rejects(transport.ends(topic), denied);
      await assert.rejects(transport.deleteTopics([topic]), denied);
      await assert.rejects(transport.read({ topic, from: new Map([[0, 0]]), maxBytes: 1000 }), denied);
    });

    for (const lacking of [null, ...PRODUCER]) {
      test(lacking === null ? 'the least suffices' : `without ${lacking} the least does not suffice`, async () => {
        const topic = `least-${randomBytes(4).toString('hex')}.train`;
        const rights = PRODUCER.filter((right) => right !== lacking);
        await grant(rights.map((right) => entry('writer', right, ofTopics(topic.replace('train', '')))));
        asUser(user('writer'));
        const transport = await open(doors.users());
        if (lacking === null) await produceTo(transport, topic);
        else await assert.rejects(produceTo(transport, topic), refusal('kafka-authorization', /AUTHORIZATION_FAILED/));
      });
    }

    test('that are taken away end an append and a read that are under way', async () => {
      const topic = `taken-${randomBytes(4).toString('hex')}.train`;
      const of = ofTopics(topic.replace('train', ''));
      await grant(PRODUCER.map((right) => entry('writer', right, of)));
      asUser(user('writer'));
      const transport = await open(doors.users());
      await transport.createTopics([spec(topic)]);
      assert.equal(await transport.append(topic, 0, Buffer.from('x')), 0);
      const reader = await transport.read({ topic, from: new Map([[0, 0]]), maxBytes: 1000 });
      cleanups.push(() => reader.close());
      await reader.next(0);
      const waiting = reader.next(0);
      waiting.catch(() => {});
      await takeAway(entry('writer', 'write', of));
      await takeAway(entry('writer', 'read', of));
      const denied = refusal('kafka-authorization', new RegExp(`AUTHORIZATION_FAILED.*${topic}`));
      await assert.rejects(transport.append(topic, 0, Buffer.from('y')), denied);
      await assert.rejects(waiting, denied);
    });

    test('to a group: the refusal is the broker’s, not a coordinator that cannot be found', async () => {
      const groupId = topicsOf(`group-${randomBytes(4).toString('hex')}`).producers;
      await grant([entry('writer', 'read', { resourceType: GROUP, resourceName: groupId })]);
      const coordinator = async (name: string) => {
        const address = parseKafkaUrl(doors.users());
        const security = await securityOf(address, { ...process.env, ...envOf(user(name)) });
        const client = createClient(address.brokers, () => {}, { security });
        cleanups.push(() => client.destroySockets());
        const cluster = client.cluster() as Cluster & { findGroupCoordinator(of: object): Promise<unknown> };
        await cluster.connect();
        await cluster.refreshMetadata();
        return cluster.findGroupCoordinator({ groupId });
      };
      await assert.rejects(coordinator('reader'), (error) => {
        const { type, refused } = failureOf(error);
        assert.deepEqual([type, refused], ['GROUP_AUTHORIZATION_FAILED', true]);
        return true;
      });
      await coordinator('writer');
    });
  });

  test('a run over TLS and SCRAM with the least rights: produced by one user, trained on by another', {
    timeout: 240_000,
  }, async () => {
    const name = `run-${randomBytes(4).toString('hex')}`;
    const { progress, producers } = topicsOf(name);
    const of = ofTopics(`${name}.`);
    await grant([
      ...PRODUCER.map((right) => entry('writer', right, of)),
      entry('writer', 'read', { resourceType: GROUP, resourceName: producers }),
      entry('reader', 'describe', { resourceType: GROUP, resourceName: producers }),
      entry('reader', 'read', of),
      entry('reader', 'write', { resourceName: progress }),
    ]);
    const shards = await packPhotos('16:24');
    const recipe = join(temporaryFolder(), 'recipe.yaml');
    const phases = [{ resolution: 16, epochs: 2, batch: 8 }];
    await writeFile(
      recipe,
      JSON.stringify({ name: 'small', lanes: 2, phases, optimizer: { lr: 0.1, weightDecay: 0 } }),
    );

    asUser({ ...user('writer'), CA_FILE: secured.files.ca });
    const transport = `kafka://${secured.at('users')}?tls=true&sasl=scram-sha-512&client-id=${name}`;
    const target = ['--run', name, '--transport', transport];
    const produced = await run('stream', ['produce', '--shards', shards, '--recipe', recipe, ...target, '--json']);
    assert.equal(produced.code, 0, produced.stderr);
    assertNoSecret(produced.stderr + produced.stdout);

    asUser({ ...user('reader'), CA_FILE: secured.files.ca });
    const events: string[] = [];
    const feed = new Feed((event) => events.push(event));
    cleanups.push(() => feed.close());
    const meta = await feed.join({ transport, run: name, waitMs: 0 });
    await feed.start({ meta, lanes: [0, 1], fromStep: 0, groups: 1, prefetchBytes: 2 ** 22 });
    const steps: number[] = [];
    for (let batch = await feed.next(); batch; batch = await feed.next()) steps.push(batch.step);
    assert.deepEqual(
      steps,
      Array.from({ length: meta.plan.steps }, (_, step) => step),
    );
    assert.ok(steps.length > 0);
    await feed.report({ trainer: 't', rank: 0, consumedStep: steps.length - 1, checkpointStep: 0 });
    assert.deepEqual(events, []);
    const status = await run('stream', ['status', ...target, '--json']);
    assert.equal(status.code, 0, status.stderr);
    assertNoSecret(status.stderr + status.stdout);
  });

  test('a broker that is killed and started again is waited for, not taken for one that refuses', {
    timeout: 240_000,
  }, async () => {
    const topic = `again-${randomBytes(4).toString('hex')}.train`;
    await grant(PRODUCER.map((right) => entry('writer', right, ofTopics(topic.replace('train', '')))));
    asUser(user('writer'));
    const [writer, other] = [await open(doors.users()), await open(doors.users())];
    await writer.createTopics([spec(topic, { partitions: 3 })]);
    const lanes = [0, 1, 2];
    const reader = await other.read({ topic, from: new Map(lanes.map((lane) => [lane, 0])), maxBytes: 100_000 });
    cleanups.push(() => reader.close());
    const value = (lane: number, i: number) => Buffer.alloc(20_000, `${lane}:${i};`);
    const count = 100;
    let restarted: Promise<void> | undefined;
    const appending = lanes.map(async (lane) => {
      for (let i = 0; i < count; i++) {
        if (i === count / 2 && lane === 0) {
          secured.broker.kill();
          restarted = secured.broker.restart();
          restarted.catch(() => {});
        }
        assert.equal(await writer.append(topic, lane, value(lane, i)), i);
      }
    });
    const reading = lanes.map(async (lane) => {
      for (let i = 0; i < count; i++) {
        const record = await reader.next(lane);
        assert.equal(record?.offset, i);
        assert.ok(record.value.equals(value(lane, i)));
      }
    });
    await Promise.all([...appending, ...reading]);
    await restarted;
    assert.ok((writer.counters['lostConnections'] ?? 0) > 0, 'the connections were lost');
  });
});

const envOf = (variables: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(variables).map(([name, value]) => [PREFIX + name, value]));
