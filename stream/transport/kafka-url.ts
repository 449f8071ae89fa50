// kafka://HOST:PORT[,HOST:PORT…][?…]: which brokers to ask first, how often a record is kept, by which door to enter.

import { Fault } from '#shards';

export type SaslMechanism = 'plain' | 'scram-sha-256' | 'scram-sha-512';

export interface KafkaAddress {
  /** HOST:PORT each, to begin with; the cluster tells the others. */
  readonly brokers: readonly string[];
  /** Replicas of the topics that are made; null for as many as there are brokers, up to three. */
  readonly replication: number | null;
  /** What the brokers know this program by: in their logs, metrics and quotas. */
  readonly clientId: string;
  readonly tls: boolean;
  readonly sasl: SaslMechanism | null;
  /** PEM files: whom to trust, and who we are where the brokers want to know it (mutual TLS). */
  readonly files: { readonly ca: string | null; readonly cert: string | null; readonly key: string | null };
  /** The URL as it may be shown and given to others: it holds no secret, as none may be in one. */
  readonly url: string;
}

const CLIENT_ID = 'medium-recipe';
const BROKER = /^(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})$/;

/** What each parameter may be, for people and as a check. */
const PARAMETERS: Readonly<Record<string, readonly [form: string, valid: RegExp]>> = {
  replication: ['N', /^[1-9]\d?$/],
  tls: ['true', /^(true|false)$/],
  sasl: ['plain|scram-sha-256|scram-sha-512', /^(plain|scram-sha-256|scram-sha-512)$/],
  'client-id': ['NAME', /^[A-Za-z0-9._-]{1,128}$/],
  ca: ['FILE', /./],
  cert: ['FILE', /./],
  key: ['FILE', /./],
};
const FORM = `kafka://HOST:PORT[,HOST:PORT…][?NAME=VALUE&…] with ${Object.entries(PARAMETERS)
  .map(([name, [form]]) => `${name}=${form}`)
  .join(', ')}`;

/** @throws Fault `bad-transport` (wrong usage); never repeats what may be a password. */
export function parseKafkaUrl(url: string): KafkaAddress {
  // Wherever it stands: what is before an @ may be a password that holds any of the characters we would split at.
  if (url.includes('@')) throw badUrl('an @, as before a host stands after a user and password (in a parameter: %40)');
  const [hosts = '', query = ''] = url.replace(/^kafka:\/\//, '').split('?');
  const brokers = hosts.replace(/\/$/, '').split(',');
  const wrong = brokers.find((broker) => !isBroker(broker));
  if (wrong !== undefined) throw badUrl(`'${wrong}'`);
  const given = parametersIn(query);
  const tls = given.get('tls') === 'true';
  const [ca = null, cert = null, key = null] = ['ca', 'cert', 'key'].map((name) => given.get(name));
  if (!tls && (ca ?? cert ?? key) !== null) throw badUrl('ca, cert or key without tls=true');
  const replication = given.get('replication');
  const shown = [...given].map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll('%2F', '/')}`);
  return {
    brokers,
    replication: replication === undefined ? null : Number(replication),
    clientId: given.get('client-id') ?? CLIENT_ID,
    tls,
    sasl: (given.get('sasl') as SaslMechanism | undefined) ?? null,
    files: { ca, cert, key },
    url: `kafka://${brokers.join(',')}${shown.length === 0 ? '' : `?${shown.join('&')}`}`,
  };
}

function parametersIn(query: string): Map<string, string> {
  const given = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    const known = PARAMETERS[name];
    // Its value is not repeated: it may be a password=….
    if (known === undefined) throw badUrl(`the parameter '${name}'`);
    if (given.has(name)) throw badUrl(`${name} twice`);
    if (!known[1].test(value)) throw badUrl(`${name}=${value}`);
    given.set(name, value);
  }
  return given;
}

function isBroker(text: string): boolean {
  const port = Number(BROKER.exec(text)?.[1]);
  return port >= 1 && port <= 65535;
}

const badUrl = (received: string): Fault =>
  new Fault({
    code: 'bad-transport',
    received: `${received} in a kafka:// URL`,
    expected: FORM,
    remedy:
      'correct --transport; a user and password come from MEDIUM_RECIPE_KAFKA_USERNAME and MEDIUM_RECIPE_KAFKA_PASSWORD (or …_PASSWORD_FILE)',
    exit: 2,
  });
