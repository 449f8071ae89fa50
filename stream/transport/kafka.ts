// Apache Kafka as a transport, `kafka://host:port,…`: topics, extents, deletion; appends and reads have their own files.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin } from 'kafkajs';
import { Fault } from '#shards';
import {
  checkKey,
  closedTransport,
  offsetOutOfRange,
  tooFewBrokers,
  topicMismatch,
  unknownPartition,
  unknownTopic,
  unreachable,
} from './faults.ts';
import { KafkaAdmins } from './kafka-admins.ts';
import { createClient, failureOf, type KafkaClient, UNKNOWN_TOPIC_MS } from './kafka-client.ts';
import { KafkaGroup, memberOf } from './kafka-group.ts';
import { KafkaProducers } from './kafka-producers.ts';
import { KafkaReader } from './kafka-reader.ts';
import { firstContactOf, refusalOf } from './kafka-refusals.ts';
import { type KafkaSecurity, securityOf } from './kafka-security.ts';
import { judgeTopics, statesOf } from './kafka-topic-check.ts';
import { describe, extentsOf, raiseBackstop, topicConfig } from './kafka-topics.ts';
import { type KafkaAddress, parseKafkaUrl } from './kafka-url.ts';
import type {
  Extent,
  JoinOptions,
  Member,
  Membership,
  Reader,
  ReaderOptions,
  TopicSpec,
  Transport,
  TransportOptions,
} from './transport.ts';

const PATIENCE_MS = 120_000;
/** At open, where a wrong address is likelier than a broker that restarts; and for brokers that topics want. */
const OPEN_PATIENCE_MS = 8000;
const BACKOFF_MS = { first: 50, last: 1000 };
/** So often a broker that we never reached may greet us and then close the connection, until that is its answer. */
const GREETINGS = 3;
/** How long close() waits for answers that are under way before it cuts the connections. */
const CLOSE_MS = 2000;

interface AdministerOptions {
  readonly limitMs?: number;
  readonly topic?: string | null;
}

/**
 * @throws Fault `bad-transport`, `kafka-security`, `kafka-tls`, `kafka-certificate`, `kafka-authentication`,
 * `kafka-authorization`, `transport-unreachable`.
 */
export async function openKafka(url: string, options: TransportOptions = {}): Promise<Transport> {
  const address = parseKafkaUrl(url);
  const transport = new KafkaTransport(address, await securityOf(address), options);
  await transport.open();
  return transport;
}

class KafkaTransport implements Transport {
  readonly url: string;
  readonly counters = {
    retries: 0,
    lostConnections: 0,
    reconnects: 0,
    duplicateSequence: 0,
    reappended: 0,
    producersReplaced: 0,
    skippedToBegin: 0,
    rebalances: 0,
    evictions: 0,
    slowCrc: 0,
    unmended: 0,
    passwordInClear: 0,
    lessSafeTopics: 0,
    copying: 0,
  };
  readonly #client: KafkaClient;
  readonly #admins: KafkaAdmins;
  readonly #replication: number | null;
  readonly #patienceMs: number;
  readonly #onEvent: (event: string) => void;
  readonly #producers: KafkaProducers;
  readonly #readers = new Set<KafkaReader>();
  readonly #memberships = new Set<KafkaGroup>();
  /** Topics that were seen, with their partition counts. */
  readonly #partitions = new Map<string, number>();
  readonly #passwordInClear: boolean;
  /** HOST:PORT, for commands that people run. */
  readonly #broker: string;
  /** How many the URL names. */
  readonly #named: number;
  readonly #lessSafe = new Set<string>();
  /** Whether it ever did what was asked: then it is waited for, whatever becomes of its connections. */
  #answered = false;
  #closed = false;

  constructor(address: KafkaAddress, security: KafkaSecurity, options: TransportOptions) {
    const { brokers, url, replication, clientId } = address;
    this.url = url;
    const onLost = () => {
      this.counters.lostConnections++;
    };
    const client = createClient(brokers, onLost, { clientId, security });
    this.#broker = brokers[0] ?? '';
    this.#named = brokers.length;
    this.#passwordInClear = address.sasl === 'plain' && !address.tls;
    this.#client = client;
    this.#admins = new KafkaAdmins(client);
    this.#replication = replication;
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
    this.#onEvent = options.onEvent ?? (() => undefined);
    this.#producers = new KafkaProducers({
      client,
      url,
      patienceMs: this.#patienceMs,
      counters: this.counters,
      onEvent: this.#onEvent,
      check: (topic, partition) => this.#known(topic, partition),
      topicExists: async (topic) => (await this.partitions(topic)) !== null,
    });
  }

  async open(): Promise<void> {
    if (this.#client.slowCrc !== null) {
      this.counters.slowCrc = 1;
      this.#onEvent(`kafkajs computes its checksums in JavaScript, at twice the CPU time: ${this.#client.slowCrc}`);
    }
    if (this.#client.unmended !== null) {
      this.counters.unmended = 1;
      this.#onEvent(
        `kafkajs is as it came, and may end this process when a connection breaks: ${this.#client.unmended}`,
      );
    }
    if (this.#passwordInClear) {
      this.counters.passwordInClear = 1;
      this.#onEvent(`warning: sasl=plain without tls=true sends the password to ${this.url} in clear`);
    }
    const copying = await this.#client.copying;
    if (copying !== null) {
      this.counters.copying = 1;
      this.#onEvent(`records are copied on their way to Kafka and back, at twice the CPU time: ${copying}`);
    }
    try {
      const limitMs = Math.min(this.#patienceMs, OPEN_PATIENCE_MS);
      await this.#countBrokers(limitMs);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async createTopics(specs: readonly TopicSpec[]): Promise<void> {
    const missing: TopicSpec[] = [];
    const present: TopicSpec[] = [];
    const replicas = await this.#replicas();
    for (const spec of specs) {
      const found = await this.partitions(spec.name);
      if (found === null) missing.push(spec);
      else if (found !== spec.partitions) throw topicMismatch(spec.name, found, spec.partitions);
      else present.push(spec);
    }
    if (present.length > 0) await this.#joinTopics(present, replicas);
    if (missing.length === 0) return;
    await this.#awaitBrokers(replicas);
    // Another process may create them at the same time: then kafkajs answers false, and all is as it should be.
    await this.#administer(`creating ${missing.map(({ name }) => name).join(', ')}`, (admin) =>
      admin.createTopics({ topics: missing.map((spec) => topicConfig(spec, replicas)), waitForLeaders: false }),
    );
    for (const { name, partitions } of missing) {
      const found = await this.#whenLed(name);
      if (found !== partitions) throw topicMismatch(name, found, partitions);
    }
  }

  /** Copies of each record: for a cluster of which a part is down or starting, as many as the URL lets expect. */
  async #replicas(): Promise<number> {
    return this.#replication ?? Math.min(3, Math.max(this.#named, await this.#countBrokers()));
  }

  #countBrokers(limitMs = this.#patienceMs): Promise<number> {
    const count = async (admin: Admin) => (await admin.describeCluster()).brokers.length;
    return this.#administer('asking who is there', count, { limitMs });
  }

  /** A topic cannot be made with more copies than there are brokers, and one with fewer would stay so. */
  async #awaitBrokers(count: number): Promise<void> {
    const until = Date.now() + Math.min(this.#patienceMs, OPEN_PATIENCE_MS);
    for (let told = false; ; told = true) {
      const there = await this.#countBrokers();
      if (there >= count) return;
      if (Date.now() >= until) throw tooFewBrokers(this.url, there, count);
      if (!told) this.#onEvent(`waiting for ${count} brokers, of which ${there} are there`);
      this.counters.retries++;
      await sleep(BACKOFF_MS.last / 4);
    }
  }

  /** Checks topics that somebody made before, and raises their backstops. */
  async #joinTopics(specs: readonly TopicSpec[], replicas: number): Promise<void> {
    const names = specs.map(({ name }) => name);
    await this.#administer(`looking at the settings of ${names.join(', ')}`, async (admin) => {
      const states = await statesOf(admin, names);
      const wanted = specs.map((spec) => topicConfig(spec, replicas));
      const { fault, lessSafe } = judgeTopics(wanted, states, this.#broker);
      if (fault !== null) throw fault;
      for (const [topic, how] of lessSafe) {
        if (this.#lessSafe.has(topic)) continue;
        this.#lessSafe.add(topic);
        this.counters.lessSafeTopics++;
        this.#onEvent(`warning: topic '${topic}' is kept less safely than asked for: ${how}`);
      }
      for (const [i, { retention }] of specs.entries()) {
        const [config, state] = [wanted[i], states[i]];
        if (typeof retention === 'object' && config && state) await raiseBackstop(admin, config, state);
      }
    });
  }

  async partitions(topic: string): Promise<number | null> {
    const found = await this.#administer(`asking for ${topic}`, (admin) => describe(admin, topic));
    if (found === null) this.#partitions.delete(topic);
    else this.#partitions.set(topic, found.partitions);
    return found?.partitions ?? null;
  }

  async append(topic: string, partition: number, value: Uint8Array, key?: string): Promise<number> {
    this.#assertOpen();
    checkKey(topic, key);
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return this.#producers.append({ topic, partition, value: bytes, key: key ?? null });
  }

  async ends(topic: string): Promise<Extent[]> {
    await this.#known(topic, 0);
    const operation = async (admin: Admin) => extentsOf(await admin.fetchTopicOffsets(topic));
    return this.#administer(`asking where ${topic} ends`, operation, { topic });
  }

  async read(options: ReaderOptions): Promise<Reader> {
    const { topic, from } = options;
    for (const partition of from.keys()) await this.#known(topic, partition);
    const extents = await this.ends(topic);
    for (const [partition, offset] of from) {
      const end = extents[partition]?.end ?? 0;
      if (offset > end) throw offsetOutOfRange(topic, partition, offset, end);
    }
    const reader = new KafkaReader({
      ...options,
      newCluster: () => this.#client.cluster(),
      url: this.url,
      patienceMs: this.#patienceMs,
      counters: this.counters,
      onEvent: this.#onEvent,
      onClose: () => this.#readers.delete(reader),
    });
    this.#readers.add(reader);
    await reader.start();
    return reader;
  }

  async deleteBefore(topic: string, partition: number, offset: number): Promise<void> {
    await this.#known(topic, partition);
    const operation = async (admin: Admin) => {
      // Asked first in any case: kafkajs looks for the leader in metadata that this call loads.
      const { begin, end } = extentsOf(await admin.fetchTopicOffsets(topic))[partition] ?? { begin: 0, end: 0 };
      const target = Math.min(offset, end);
      if (target <= begin) return;
      await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(target) }] });
    };
    await this.#administer(`deleting records of ${topic}`, operation, { topic });
  }

  async join(options: JoinOptions): Promise<Membership> {
    this.#assertOpen();
    await this.#known(options.topic, 0);
    const membership = new KafkaGroup({
      ...options,
      newCluster: () => this.#client.cluster(),
      codec: this.#client.codec,
      partitions: this.#partitions.get(options.topic) as number,
      url: this.url,
      patienceMs: this.#patienceMs,
      counters: this.counters,
      onEvent: this.#onEvent,
    });
    this.#memberships.add(membership);
    return membership;
  }

  async members(group: string): Promise<Member[]> {
    const { groups } = await this.#administer(`asking for the group ${group}`, (admin) =>
      admin.describeGroups([group]),
    );
    return groups.flatMap(({ members }) => members).map((member) => memberOf(this.#client.codec, member));
  }

  async deleteTopics(topics: readonly string[]): Promise<void> {
    for (const topic of topics) {
      this.#partitions.delete(topic);
      await this.#administer(`deleting ${topic}`, async (admin) => {
        if ((await describe(admin, topic)) !== null) await admin.deleteTopics({ topics: [topic] });
      });
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const ends = [
      ...[...this.#memberships].map((membership) => membership.leave()),
      ...[...this.#readers].map((reader) => reader.close()),
    ];
    const limit = new AbortController();
    await Promise.race([
      Promise.allSettled([...ends, this.#producers.close()]),
      sleep(CLOSE_MS, undefined, { signal: limit.signal }).catch(() => undefined),
    ]);
    limit.abort();
    this.#client.destroySockets();
  }

  #assertOpen(): void {
    if (this.#closed) throw closedTransport(this.url);
  }

  /** @throws Fault `unknown-topic`, `unknown-partition`. */
  async #known(topic: string, partition: number): Promise<void> {
    const count = this.#partitions.get(topic) ?? (await this.partitions(topic));
    if (count === null) throw unknownTopic(this.url, topic);
    if (partition >= count) throw unknownPartition(topic, partition, count);
  }

  /** Partition count of a new topic, as soon as each partition has a leader. */
  async #whenLed(topic: string): Promise<number> {
    const found = await this.#administer(`asking for ${topic}`, async (admin) => {
      const found = await describe(admin, topic);
      if (found === null || !found.led) throw new Error(`topic '${topic}' has no leaders yet`);
      return found;
    });
    this.#partitions.set(topic, found.partitions);
    return found.partitions;
  }

  /**
   * Runs an administrative operation, again and again within patience. `topic`: the only one that it is about; where that
   * one is gone, nothing is waited for.
   */
  async #administer<T>(
    what: string,
    operation: (admin: Admin) => Promise<T>,
    { limitMs: patienceMs = this.#patienceMs, topic = null }: AdministerOptions = {},
  ): Promise<T> {
    const since = Date.now();
    let lastAnswer: unknown = null;
    let greetings = 0;
    for (let backoff = BACKOFF_MS.first; ; backoff = Math.min(backoff * 2, BACKOFF_MS.last)) {
      this.#assertOpen();
      const admin = this.#admins.connected(topic);
      let failed = true;
      try {
        const answered = admin.then((connected) => {
          greetings++;
          return operation(connected);
        });
        const answer = await within(patienceMs - (Date.now() - since), answered);
        this.#answered = true;
        failed = false;
        return answer;
      } catch (error) {
        if (error instanceof Fault) throw error;
        const failure = failureOf(error);
        const waited = Date.now() - since;
        const unknown = failure.type === 'UNKNOWN_TOPIC_OR_PARTITION' && waited > UNKNOWN_TOPIC_MS;
        if (unknown && topic !== null && (await this.partitions(topic)) === null) throw unknownTopic(this.url, topic);
        const refusal = refusalOf(failure, this.url, what);
        if (refusal !== null) throw refusal;
        if (failure.refused) throw refusedOperation(failure.type, failure.message, error);
        const mistaken = this.#answered
          ? null
          : firstContactOf(failureOf(lastAnswer ?? error), this.url, greetings > 0);
        // A broker that ends greets nobody again; nor does one that starts.
        if (mistaken !== null && (greetings >= GREETINGS || waited >= patienceMs)) throw mistaken;
        // The time limit says less than what an earlier try was told.
        if (waited >= patienceMs) throw unreachable(this.url, Math.round(waited / 1000), lastAnswer ?? error);
        lastAnswer = error;
        this.counters.retries++;
        if (waited > 1000) this.#onEvent(`asking ${this.url} again after ${failure.message}`);
        await sleep(backoff);
      } finally {
        this.#admins.release(admin, topic, failed);
      }
    }
  }
}

/** kafkajs waits on a silent server for longer than we want to. */
async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  const limit = new AbortController();
  const timeout = sleep(Math.max(1, limitMs), undefined, { signal: limit.signal }).then(() => {
    throw new Error('no answer');
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    limit.abort();
    timeout.catch(() => undefined);
    work.catch(() => undefined);
  }
}

const refusedOperation = (type: string, message: string, cause: unknown): Fault =>
  new Fault({
    code: 'kafka-refused',
    received: `${type}: ${message}`,
    expected: 'a broker that carries out the operation',
    remedy: "look at the cluster's settings (replication, policies) and the rights of this client",
    cause,
  });
