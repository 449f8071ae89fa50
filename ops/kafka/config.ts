// The broker's configuration: one process that is broker and controller, on 127.0.0.1 only, for one machine.

import { createServer } from 'node:net';

export interface Ports {
  /** Where clients connect. */
  readonly port: number;
  /** The controller's own listener; KRaft wants one even in a single process. */
  readonly controllerPort: number;
}

/** server.properties for a single node; `logDir` is where Kafka keeps its topics. */
export function serverProperties({ port, controllerPort }: Ports, logDir: string): string {
  const settings: Record<string, string | number | boolean> = {
    'process.roles': 'broker,controller',
    'node.id': 1,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'controller.quorum.bootstrap.servers': `127.0.0.1:${controllerPort}`,
    'log.dirs': logDir,
    // One node: every internal topic has one replica and one partition.
    'default.replication.factor': 1,
    'min.insync.replicas': 1,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
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
