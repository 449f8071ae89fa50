// A broker's configuration: a process that is broker and controller, alone or one of a cluster, on 127.0.0.1 only.

import { createServer } from 'node:net';

export interface Ports {
  /** Where clients connect. */
  readonly port: number;
  /** The controller's own listener; KRaft wants one even in a single process. */
  readonly controllerPort: number;
}

export type ServerSettings = Readonly<Record<string, string | number | boolean>>;

/** One of a cluster's nodes; each is broker and controller, and all of them vote. */
export interface Member {
  readonly id: number;
  readonly clusterId: string;
  readonly voters: readonly { readonly id: number; readonly controllerPort: number }[];
}

/** A second listener, whose clients are told the address of the proxy before it. */
export interface Proxied {
  readonly port: number;
  readonly advertised: number;
}

export interface NodeSettings {
  /** Without it the node is alone. */
  readonly member?: Member | undefined;
  readonly proxied?: Proxied | undefined;
  /** Added to the settings, or put in place of ours. */
  readonly settings?: ServerSettings | undefined;
}

/** server.properties; `logDir` is where Kafka keeps its topics. */
export function serverProperties({ port, controllerPort }: Ports, logDir: string, node: NodeSettings = {}): string {
  const { member, proxied } = node;
  // Three replicas, of which two must have a record before it counts: one broker may go at any time.
  const replicas = Math.min(3, member?.voters.length ?? 1);
  const inSync = Math.max(1, replicas - 1);
  const listen = (name: string, at: number) => `${name}://127.0.0.1:${at}`;
  const listeners = [listen('PLAINTEXT', port), ...(proxied ? [listen('PROXIED', proxied.port)] : [])];
  const advertised = [listen('PLAINTEXT', port), ...(proxied ? [listen('PROXIED', proxied.advertised)] : [])];
  const settings: ServerSettings = {
    'process.roles': 'broker,controller',
    'node.id': member?.id ?? 1,
    listeners: [...listeners, listen('CONTROLLER', controllerPort)].join(','),
    'advertised.listeners': advertised.join(','),
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT',
    // A cluster's voters are named here and not in its data, so that all of it may move to other ports.
    ...(member
      ? { 'controller.quorum.voters': member.voters.map((v) => `${v.id}@127.0.0.1:${v.controllerPort}`).join(',') }
      : { 'controller.quorum.bootstrap.servers': `127.0.0.1:${controllerPort}` }),
    'log.dirs': logDir,
    // Every internal topic has one partition, on as many nodes as there are, up to three.
    'default.replication.factor': replicas,
    'min.insync.replicas': inSync,
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    'transaction.state.log.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': inSync,
    'share.coordinator.state.topic.num.partitions': 1,
    // Topics are made by who owns the run; a misspelt one must fail. What is kept is decided by topic, not by a default.
    'auto.create.topics.enable': false,
    'log.retention.ms': -1,
    'group.initial.rebalance.delay.ms': 0,
    // The default session of 9 s makes a killed broker that restarts loop on DUPLICATE_BROKER_REGISTRATION for as long.
    'broker.session.timeout.ms': 2000,
    'broker.heartbeat.interval.ms': 500,
    // Records reach 1 MB of pixels; 16 MiB leaves room for larger ones without a change here.
    'message.max.bytes': 16 * 1024 * 1024,
    'replica.fetch.max.bytes': 16 * 1024 * 1024,
    'socket.send.buffer.bytes': 1024 * 1024,
    'socket.receive.buffer.bytes': 1024 * 1024,
    'log.segment.bytes': 256 * 1024 * 1024,
    // A small machine, beside a producer and a trainer.
    'num.network.threads': 2,
    'num.io.threads': 4,
    'background.threads': 2,
    'num.recovery.threads.per.data.dir': 2,
    'log.cleaner.dedupe.buffer.size': 16 * 1024 * 1024,
    ...node.settings,
  };
  return `${Object.entries(settings)
    .map(([key, value]) => `${key}=${value}`)
    .join('\n')}\n`;
}

/** `count` different free ports of 127.0.0.1. They are free when this returns; somebody may still be faster. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  const servers = Array.from({ length: count }, () => createServer());
  for (const server of servers) {
    // All are held open until all are known, so they differ.
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(0, '127.0.0.1', resolve);
    });
    const address = server.address();
    if (address !== null && typeof address === 'object') ports.push(address.port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}

/** Whether nobody listens on a port of 127.0.0.1. */
export async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
  });
  if (free) await new Promise((resolve) => server.close(resolve));
  return free;
}
