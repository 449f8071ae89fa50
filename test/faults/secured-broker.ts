// A real broker with a listener for each way in: SASL over TLS, SASL in clear, mutual TLS, TLS with a bad certificate.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from '../../ops/kafka/config.ts';
import { startBroker, type TestBroker } from '../broker.ts';
import { temporaryFolder } from '../packed.ts';
import { Authority } from './certificates.ts';

const HOST = '127.0.0.1';

/** SASL listeners offer different mechanisms, so that a wrong one can be asked for at each. */
const LISTENERS = {
  users: 'SASL_SSL',
  clear: 'SASL_PLAINTEXT',
  mutual: 'SSL',
  expired: 'SSL',
  elsewhere: 'SSL',
} as const;
type Listener = keyof typeof LISTENERS;

/** Who may do what is set by the tests; their passwords are told by `passwordOf`. */
export const USERS = ['writer', 'reader', 'stranger'] as const;

export interface SecuredBroker {
  readonly broker: TestBroker;
  /** HOST:PORT of a listener. */
  at(listener: Listener): string;
  /** PEM files for a client. */
  readonly files: Record<'ca' | 'otherCa' | 'cert' | 'key' | 'otherCert' | 'otherKey', string>;
}

export const passwordOf = (user: string): string => `secret-of-${user}-5b1d`;

export async function startSecuredBroker(): Promise<SecuredBroker> {
  const dir = temporaryFolder();
  const pem = (name: string, text: string): string => {
    const path = join(dir, `${name}.pem`);
    writeFileSync(path, text);
    return path;
  };
  const ours = new Authority('ours');
  const other = new Authority('other');
  const client = ours.issue({ name: 'client' });
  const foreign = other.issue({ name: 'client' });
  const good = ours.issue({ name: 'broker', ips: [HOST], hosts: ['localhost'] });
  const certificates = {
    users: good,
    mutual: good,
    expired: ours.issue({ name: 'broker', ips: [HOST], valid: [-3, -1] }),
    elsewhere: ours.issue({ name: 'broker', ips: ['127.0.0.2'], hosts: ['elsewhere.example'] }),
  };
  const files = {
    ca: pem('ca', ours.cert),
    otherCa: pem('other-ca', other.cert),
    cert: pem('client', client.cert),
    key: pem('client-key', client.key),
    otherCert: pem('foreign', foreign.cert),
    otherKey: pem('foreign-key', foreign.key),
  };
  const names = Object.keys(LISTENERS) as Listener[];
  const free = await freePorts(names.length);
  const ports = new Map(names.map((name, i) => [name, free[i]]));
  const keyStores = Object.fromEntries(
    Object.entries(certificates).flatMap(([listener, { cert, key }]) => [
      [`listener.name.${listener}.ssl.keystore.type`, 'PEM'],
      [`listener.name.${listener}.ssl.keystore.location`, pem(`${listener}-store`, key + cert)],
    ]),
  );
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
  const plainUsers = USERS.map((user) => `user_${user}="${passwordOf(user)}"`).join(' ');
  const broker = await startBroker({
    settings: ({ port, controllerPort }) => {
      const more = names.map((name) => `${name.toUpperCase()}://${HOST}:${ports.get(name)}`).join(',');
      const protocols = Object.entries(LISTENERS).map(([name, protocol]) => `${name.toUpperCase()}:${protocol}`);
      return {
        listeners: `PLAINTEXT://${HOST}:${port},CONTROLLER://${HOST}:${controllerPort},${more}`,
        'advertised.listeners': `PLAINTEXT://${HOST}:${port},${more}`,
        'listener.security.protocol.map': `PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,${protocols.join(',')}`,
        ...keyStores,
        'listener.name.mutual.ssl.client.auth': 'required',
        'listener.name.mutual.ssl.truststore.type': 'PEM',
        'listener.name.mutual.ssl.truststore.location': files.ca,
        'listener.name.users.sasl.enabled.mechanisms': 'SCRAM-SHA-512',
        'listener.name.users.scram-sha-512.sasl.jaas.config': scram,
        'listener.name.clear.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256',
        'listener.name.clear.scram-sha-256.sasl.jaas.config': scram,
        'listener.name.clear.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required ${plainUsers};`,
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        // The broker itself, the tests' administrator, and the clients of the listeners without users.
        'super.users': 'User:ANONYMOUS;User:CN=client',
      };
    },
    formatArgs: USERS.flatMap((user) =>
      ['SCRAM-SHA-256', 'SCRAM-SHA-512'].map(
        (mechanism) => `--add-scram=${mechanism}=[name=${user},password=${passwordOf(user)}]`,
      ),
    ),
  });
  return { broker, at: (listener) => `${HOST}:${ports.get(listener)}`, files };
}
