// The way into a Kafka cluster, as far as no broker is needed: the URL, the environment, files, what is never shown.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Logger } from 'kafkajs';
import { Fault } from '#shards';
import { openTransport } from '../../../stream/transport/index.ts';
import { saslMechanism } from '../../../stream/transport/kafka-answers.ts';
import { securityOf } from '../../../stream/transport/kafka-security.ts';
import { parseKafkaUrl } from '../../../stream/transport/kafka-url.ts';
import { Authority } from '../../faults/certificates.ts';
import { temporaryFolder } from '../../packed.ts';

const SECRET = 'hunter2';

/** One line with this code, and the secret nowhere in it, also not in what `--json` prints. */
const isFault =
  (code: string, mentions = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof Fault, String(error));
    assert.equal(error.code, code);
    assert.equal(error.exit, 2);
    assert.match(error.message, mentions);
    assert.ok(!`${error.message}${JSON.stringify(error)}`.includes(SECRET), error.message);
    assert.ok(!error.message.includes('\n'));
    return true;
  };

describe('the URL', () => {
  test('names brokers, and how often a record is kept', () => {
    assert.deepEqual(parseKafkaUrl('kafka://a.b:9092,[::1]:9093,127.0.0.1:65535/'), {
      brokers: ['a.b:9092', '[::1]:9093', '127.0.0.1:65535'],
      replication: null,
      clientId: 'medium-recipe',
      tls: false,
      sasl: null,
      files: { ca: null, cert: null, key: null },
      url: 'kafka://a.b:9092,[::1]:9093,127.0.0.1:65535',
    });
    assert.equal(parseKafkaUrl('kafka://a:1?replication=2').replication, 2);
    assert.equal(parseKafkaUrl('kafka://a:1?replication=2').url, 'kafka://a:1?replication=2');
  });

  test('names the door, and is shown so that it can be given on as it is', () => {
    const url = 'kafka://a:1,b:2?tls=true&sasl=scram-sha-512&client-id=run-7&ca=/etc/my%20ca.pem&cert=c%40d&key=k';
    const { brokers, ...address } = parseKafkaUrl(url);
    assert.deepEqual(brokers, ['a:1', 'b:2']);
    assert.deepEqual(address, {
      replication: null,
      clientId: 'run-7',
      tls: true,
      sasl: 'scram-sha-512',
      files: { ca: '/etc/my ca.pem', cert: 'c@d', key: 'k' },
      url,
    });
    assert.deepEqual(parseKafkaUrl(address.url), { brokers, ...address });
    assert.equal(parseKafkaUrl('kafka://a:1?tls=false').tls, false);
  });

  test('without a port, or with what we do not know, is wrong usage that names it', () => {
    for (const [rest, mentions] of [
      ['', /''/],
      ['host', /'host'/],
      ['host:0', /'host:0'/],
      ['host:65536', /'host:65536'/],
      ['a:1,,b:2', /''/],
      ['a:1?replication=0', /replication=0/],
      ['a:1?tls=1', /tls=1/],
      ['a:1?sasl=gssapi', /sasl=gssapi.*scram-sha-512/],
      ['a:1?tls=true&tls=false', /tls twice/],
      ['a:1?ca=/x.pem', /without tls=true/],
      ['a:1?client-id=a%20b', /client-id=a b/],
      ['a:1?retries=3', /the parameter 'retries'/],
    ] as const) {
      assert.throws(() => parseKafkaUrl(`kafka://${rest}`), isFault('bad-transport', mentions), rest);
    }
  });

  test('with a password is refused, wherever it stands, and points to the environment', async () => {
    for (const rest of [
      `u:${SECRET}@a:1`,
      `u:x,${SECRET}@a:1`,
      `${SECRET}:x?y@a:1`,
      `u:x/${SECRET}@a:1?tls=true`,
      `a:1?password=${SECRET}`,
      `a:1?sasl=plain&user=u&password=${SECRET}`,
    ]) {
      const named = isFault('bad-transport', /MEDIUM_RECIPE_KAFKA_USERNAME.*_PASSWORD_FILE/);
      assert.throws(() => parseKafkaUrl(`kafka://${rest}`), named, rest);
      await assert.rejects(openTransport(`kafkas://${rest}`), isFault('bad-transport'), rest);
    }
  });
});

test('a connection that breaks during the exchange of SASL stays a connection that broke', async () => {
  const lost = Object.assign(new Error('Closed connection'), { name: 'KafkaJSConnectionClosedError', retriable: true });
  const silent: Logger = { info() {}, error() {}, warn() {}, debug() {}, setLogLevel() {}, namespace: () => silent };
  for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
    const credentials = { mechanism, username: 'me', password: SECRET };
    const { authenticationProvider } = saslMechanism(createRequire(import.meta.url), credentials);
    const saslAuthenticate = () => Promise.reject(lost);
    const { authenticate } = authenticationProvider({ host: 'a', port: 1, logger: silent, saslAuthenticate });
    await assert.rejects(authenticate(), (error) => error === lost, mechanism);
  }
});

describe('the environment', () => {
  const sasl = parseKafkaUrl('kafka://a:1?sasl=scram-sha-256');
  const tls = parseKafkaUrl('kafka://a:1?tls=true');
  const folder = temporaryFolder();
  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const authority = new Authority('ours');
  const ca = file('ca.pem', authority.cert);
  const mine = authority.issue({ name: 'me' });
  const [cert, key] = [file('cert.pem', mine.cert), file('key.pem', mine.key)];
  const user = { MEDIUM_RECIPE_KAFKA_USERNAME: 'me' };

  test('gives user and password, the latter from a file without its line end', async () => {
    const mechanism = 'scram-sha-256';
    const want = { tls: null, sasl: { mechanism, username: 'me', password: SECRET } };
    assert.deepEqual(await securityOf(sasl, { ...user, MEDIUM_RECIPE_KAFKA_PASSWORD: SECRET }), want);
    const MEDIUM_RECIPE_KAFKA_PASSWORD_FILE = file('password', `${SECRET}\r\n`);
    assert.deepEqual(await securityOf(sasl, { ...user, MEDIUM_RECIPE_KAFKA_PASSWORD_FILE }), want);
  });

  test('is not asked where the URL wants neither', async () => {
    const env = { ...user, MEDIUM_RECIPE_KAFKA_PASSWORD: SECRET, MEDIUM_RECIPE_KAFKA_CA_FILE: '/none' };
    assert.deepEqual(await securityOf(parseKafkaUrl('kafka://a:1'), env), { tls: null, sasl: null });
  });

  test('gives the files of TLS, and the URL has the last word', async () => {
    for (const env of [
      {},
      { MEDIUM_RECIPE_KAFKA_CA_FILE: ca },
      { MEDIUM_RECIPE_KAFKA_CERT_FILE: cert, MEDIUM_RECIPE_KAFKA_KEY_FILE: key },
    ]) {
      const { tls: context, sasl: none } = await securityOf(tls, env);
      assert.ok(context !== null && none === null);
    }
    const address = parseKafkaUrl(`kafka://a:1?tls=true&ca=${encodeURIComponent(ca)}`);
    assert.ok((await securityOf(address, { MEDIUM_RECIPE_KAFKA_CA_FILE: '/none' })).tls !== null);
  });

  test('that lacks something, or has what cannot be used, is one Fault that says what and where', async () => {
    const password = { MEDIUM_RECIPE_KAFKA_PASSWORD: SECRET };
    const noPem = file('no.pem', `not a certificate: ${SECRET}`);
    const other = file('other.pem', authority.issue({ name: 'me' }).key);
    for (const [address, env, mentions] of [
      [sasl, {}, /without a username.*MEDIUM_RECIPE_KAFKA_USERNAME/],
      [sasl, password, /without a username/],
      [sasl, user, /without a password.*MEDIUM_RECIPE_KAFKA_PASSWORD_FILE/],
      [sasl, { ...user, MEDIUM_RECIPE_KAFKA_PASSWORD_FILE: file('empty', '\n') }, /without a password/],
      [sasl, { ...user, MEDIUM_RECIPE_KAFKA_PASSWORD_FILE: SECRET }, /PASSWORD_FILE, which .*ENOENT/],
      [sasl, { ...user, ...password, MEDIUM_RECIPE_KAFKA_PASSWORD_FILE: ca }, /both/],
      [tls, { MEDIUM_RECIPE_KAFKA_CA_FILE: join(folder, 'none') }, /CA_FILE: ENOENT/],
      [tls, { MEDIUM_RECIPE_KAFKA_CA_FILE: folder }, /CA_FILE: EISDIR/],
      [tls, { MEDIUM_RECIPE_KAFKA_CA_FILE: noPem }, /no certificate in .*no\.pem.*BEGIN CERTIFICATE/],
      [parseKafkaUrl('kafka://a:1?tls=true&ca=/none.pem'), {}, /ca= in --transport: ENOENT/],
      [tls, { MEDIUM_RECIPE_KAFKA_CERT_FILE: cert }, /cert without key/],
      [tls, { MEDIUM_RECIPE_KAFKA_KEY_FILE: key }, /key without cert/],
      [tls, { MEDIUM_RECIPE_KAFKA_CERT_FILE: cert, MEDIUM_RECIPE_KAFKA_KEY_FILE: other }, /key values mismatch/],
      [tls, { MEDIUM_RECIPE_KAFKA_CERT_FILE: cert, MEDIUM_RECIPE_KAFKA_KEY_FILE: noPem }, /cert\.pem and .*no\.pem/],
    ] as const) {
      await assert.rejects(securityOf(address, env), isFault('kafka-security', mentions), String(mentions));
    }
  });
});
