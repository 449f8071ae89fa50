// How to enter a Kafka cluster: the URL says by which door (TLS, SASL), the environment and files give the secrets.

import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContext } from 'node:tls';
import { Fault } from '#shards';
import { reason } from './faults.ts';
import type { KafkaAddress, SaslMechanism } from './kafka-url.ts';

export interface KafkaCredentials {
  readonly mechanism: SaslMechanism;
  readonly username: string;
  readonly password: string;
}

export interface KafkaSecurity {
  /** Certificates and keys for every connection; null for plain TCP. */
  readonly tls: SecureContext | null;
  readonly sasl: KafkaCredentials | null;
}

export const NO_SECURITY: KafkaSecurity = { tls: null, sasl: null };

const PREFIX = 'MEDIUM_RECIPE_KAFKA_';

/** @throws Fault `kafka-security` (wrong usage) for what is missing, doubled or unreadable; it never holds a secret. */
export async function securityOf(address: KafkaAddress, env = process.env): Promise<KafkaSecurity> {
  return {
    tls: address.tls ? await secureContext(address.files, env) : null,
    sasl: address.sasl === null ? null : await credentials(address.sasl, env),
  };
}

async function credentials(mechanism: SaslMechanism, env: NodeJS.ProcessEnv): Promise<KafkaCredentials> {
  const username = env[`${PREFIX}USERNAME`];
  const password = env[`${PREFIX}PASSWORD`];
  const file = env[`${PREFIX}PASSWORD_FILE`];
  if (!username) throw missing(mechanism, 'USERNAME');
  if (password && file) {
    throw wrong(`both ${PREFIX}PASSWORD and ${PREFIX}PASSWORD_FILE`, 'one of them', 'unset the other');
  }
  // An editor's line end is no part of the password.
  const secret = file ? (await passwordIn(file)).replace(/\r?\n$/, '') : password;
  if (!secret) throw missing(mechanism, 'PASSWORD');
  return { mechanism, username, password: secret };
}

/** Its path is not repeated: somebody may have given the password itself. */
async function passwordIn(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const received = `${PREFIX}PASSWORD_FILE, which cannot be read (${(error as NodeJS.ErrnoException).code})`;
    throw wrong(received, 'the path of a file that holds the password', 'correct the path or its rights');
  }
}

async function secureContext(files: KafkaAddress['files'], env: NodeJS.ProcessEnv): Promise<SecureContext> {
  const [ca, cert, key] = await Promise.all(
    (['ca', 'cert', 'key'] as const).map(async (name) => {
      const variable = `${PREFIX}${name.toUpperCase()}_FILE`;
      const path = files[name] ?? env[variable];
      if (!path) return null;
      const from = files[name] === null ? variable : `${name}= in --transport`;
      return { path, from, pem: await contents(path, from) };
    }),
  );
  if (!cert !== !key) {
    const expected = 'a certificate and its private key, or neither';
    throw wrong(`${cert ? 'cert without key' : 'key without cert'}`, expected, `give both, or ${PREFIX}…_FILE of both`);
  }
  // Node takes a text without any certificate for a list of none, and would then trust nobody without saying why.
  for (const file of [ca, cert]) if (file) checkCertificate(file);
  try {
    return createSecureContext({
      ...(ca ? { ca: ca.pem } : {}),
      ...(cert && key ? { cert: cert.pem, key: key.pem } : {}),
    });
  } catch (error) {
    const received = `${cert?.path} and ${key?.path}: ${reason(error)}`;
    throw wrong(received, 'a PEM certificate and its unencrypted private key', 'give the two that belong together');
  }
}

interface PemFile {
  readonly path: string;
  readonly from: string;
  readonly pem: string;
}

function checkCertificate({ path, from, pem }: PemFile): void {
  try {
    new X509Certificate(pem);
  } catch {
    throw wrong(`no certificate in ${path} (${from})`, 'a PEM file: -----BEGIN CERTIFICATE-----', 'give that file');
  }
}

async function contents(path: string, from: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw wrong(`${from}: ${reason(error)}`, 'a file that can be read', 'correct the path or its rights');
  }
}

const missing = (mechanism: SaslMechanism, name: 'USERNAME' | 'PASSWORD'): Fault =>
  wrong(
    `sasl=${mechanism} in --transport without a ${name.toLowerCase()}`,
    `${PREFIX}${name} in the environment`,
    `set it${name === 'PASSWORD' ? `, or ${PREFIX}PASSWORD_FILE to a file that holds it` : ''}, or leave out sasl=`,
  );

const wrong = (received: string, expected: string, remedy: string): Fault =>
  new Fault({ code: 'kafka-security', received, expected, remedy, exit: 2 });
