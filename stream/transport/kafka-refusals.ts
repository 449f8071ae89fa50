// What a Kafka cluster refuses for good, or will never understand, as Faults with the remedy.

import type { Fault } from '#shards';
import { kafkaAuthentication, kafkaAuthorization, kafkaCertificate, kafkaTls } from './faults.ts';
import type { KafkaFailure } from './kafka-client.ts';

const VARIABLES = 'MEDIUM_RECIPE_KAFKA_USERNAME and MEDIUM_RECIPE_KAFKA_PASSWORD (or …_PASSWORD_FILE)';

/** By the broker's name for it, or kafkajs' where it found out itself. */
const WHO: ReadonlyMap<string, readonly [received: string, remedy: string]> = new Map([
  [
    'SASL_AUTHENTICATION_FAILED',
    ['an unknown user or a wrong password', `correct ${VARIABLES}, or give the user a password for this mechanism`],
  ],
  [
    // The client checks the server, too (SCRAM).
    'KafkaJSSASLAuthenticationError',
    [
      'a broker that does not know the password itself',
      `check that --transport names the right cluster, and ${VARIABLES}`,
    ],
  ],
  [
    'UNSUPPORTED_SASL_MECHANISM',
    ['a SASL mechanism that the listener does not offer', 'choose sasl= by its sasl.enabled.mechanisms'],
  ],
  [
    'ILLEGAL_SASL_STATE',
    ['a user for a listener without SASL', 'leave out sasl=, or take the port of a SASL listener'],
  ],
]);

/** What must be granted, by the kind of thing that was refused. */
const RIGHTS: ReadonlyMap<string, string> = new Map([
  ['TOPIC_AUTHORIZATION_FAILED', "rights on the run's topics"],
  ['GROUP_AUTHORIZATION_FAILED', "Read on the run's consumer group"],
  ['CLUSTER_AUTHORIZATION_FAILED', "Write on the run's topics (or IdempotentWrite on the cluster), and Create"],
]);

const UNTRUSTED = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'CERT_REVOKED',
  'INVALID_CA',
  'INVALID_PURPOSE',
]);
const OUT_OF_DATE = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);
/** A broker's word for what it thinks of our side of the handshake; a garbled record is not among these, it may pass. */
const ALERT =
  /alert[ _]((?:access|bad_cert|bad cert|cert|handshake|insufficient|protocol|unknown|unsupported)[a-z_ ]+)/i;
const NOT_TLS = /wrong[ _]version[ _]number|packet[ _]length[ _]too[ _]long/i;

/** The code of `kafka-sockets.ts` for a listener that answers a plain request with TLS. */
export const ANSWERED_WITH_TLS = 'ANSWERED_WITH_TLS';

/** The Fault for a failure that no other try would mend; null for one that may pass. `on`: what was asked for. */
export function refusalOf({ type, message, code = '', broker }: KafkaFailure, url: string, on: string): Fault | null {
  const at = broker ?? url;
  const who = WHO.get(type);
  if (who !== undefined) return kafkaAuthentication(`${url} refuses ${who[0]} (${message})`, who[1]);
  if (type.endsWith('_AUTHORIZATION_FAILED'))
    return kafkaAuthorization(`${type} for ${on} at ${url}`, RIGHTS.get(type));
  if (UNTRUSTED.has(code)) {
    const remedy = 'name the authority that signed it: ca=FILE in --transport or MEDIUM_RECIPE_KAFKA_CA_FILE (PEM)';
    return kafkaCertificate(`${at} shows one that nobody known here vouches for (${message})`, remedy);
  }
  if (OUT_OF_DATE.has(code)) {
    return kafkaCertificate(`${at} shows one out of its dates (${message})`, "renew it, or set this machine's clock");
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const remedy = 'use a host name that it holds, in --transport and advertised.listeners, or add this one to it';
    return kafkaCertificate(`${at} shows one for other names (${message})`, remedy);
  }
  const alert = ALERT.exec(`${message} ${code}`)?.[1];
  if (alert !== undefined) {
    const remedy = 'give cert=FILE and key=FILE (or MEDIUM_RECIPE_KAFKA_CERT_FILE, …_KEY_FILE) that the broker trusts';
    return kafkaCertificate(`${at} refuses ours, or that there is none (TLS alert: ${alert.trim()})`, remedy);
  }
  if (NOT_TLS.test(`${code} ${message}`)) return speaksPlain(at);
  if (code === ANSWERED_WITH_TLS) return kafkaTls(`${at} answers with TLS`, 'add tls=true to --transport');
  return null;
}

/**
 * What it means most likely that a cluster which never did anything for us closes our connections; null for silence.
 * `greeted`: it told its versions before, which any listener does.
 */
export function firstContactOf({ message, type, broker }: KafkaFailure, url: string, greeted: boolean): Fault | null {
  const at = broker ?? url;
  if (message.includes('before secure TLS connection')) return speaksPlain(at);
  if (type !== 'KafkaJSConnectionClosedError') return null;
  if (greeted)
    return kafkaTls(`${at} closes the connection at the first request`, 'it wants a user: add sasl=MECHANISM');
  return kafkaTls(
    `${at} closes the connection at once`,
    'take the port of a Kafka listener, and add tls=true if it is one of TLS',
  );
}

const speaksPlain = (at: string): Fault =>
  kafkaTls(`${at} does not answer with TLS`, 'leave out tls=true, or take the port of a TLS listener');
