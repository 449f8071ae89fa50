// kafka://HOST:PORT[,HOST:PORT…][?replication=N]: which brokers to ask first, and how often a record is kept.

import { Fault } from '#shards';

export interface KafkaAddress {
  /** HOST:PORT each, to begin with; the cluster tells the others. */
  readonly brokers: readonly string[];
  /** Replicas of the topics that are made; null for as many as there are brokers, up to three. */
  readonly replication: number | null;
  /** The URL as it may be shown and given to others. */
  readonly url: string;
}

const BROKER = /^(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})$/;

/** @throws Fault `bad-transport` (wrong usage); never repeats what may be a password. */
export function parseKafkaUrl(url: string): KafkaAddress {
  const [hosts = '', query = ''] = url.replace(/^kafka:\/\//, '').split('?');
  const brokers = hosts.replace(/\/$/, '').split(',');
  const wrong = brokers.find((broker) => !isBroker(broker));
  if (wrong !== undefined) throw badUrl(wrong.includes('@') ? 'a user or password (…@)' : `'${wrong}'`);
  const parameters = new URLSearchParams(query);
  const replication = parameters.get('replication');
  for (const name of parameters.keys()) if (name !== 'replication') throw badUrl(`the parameter '${name}'`);
  if (replication !== null && !/^[1-9]\d?$/.test(replication)) throw badUrl(`replication=${replication}`);
  return {
    brokers,
    replication: replication === null ? null : Number(replication),
    url: `kafka://${brokers.join(',')}${replication === null ? '' : `?replication=${replication}`}`,
  };
}

function isBroker(text: string): boolean {
  const port = Number(BROKER.exec(text)?.[1]);
  return port >= 1 && port <= 65535;
}

const badUrl = (received: string): Fault =>
  new Fault({
    code: 'bad-transport',
    received: `${received} in a kafka:// URL`,
    expected: 'kafka://HOST:PORT[,HOST:PORT…][?replication=N]',
    remedy: 'correct --transport (authentication and TLS are not supported yet)',
    exit: 2,
  });
