// The transports' expected failures: one menu, so that a caller meets the same code on either log.

import { Fault } from '#shards';

/** Longest record key in UTF-8 bytes: with the rest of its LMDB key it must stay below 1,978 bytes even when escaped. */
export const MAX_KEY_BYTES = 512;

export const unknownTopic = (url: string, topic: string): Fault =>
  new Fault({
    code: 'unknown-topic',
    received: `topic '${topic}' on ${url}`,
    expected: 'a topic that exists',
    remedy:
      "start the producer of this run first, or check --run and --transport ('stream status' lists what is there)",
  });

export const unknownPartition = (topic: string, partition: number, partitions: number): Fault =>
  new Fault({
    code: 'unknown-partition',
    received: `partition ${partition} of topic '${topic}'`,
    expected: `a partition in [0, ${partitions})`,
    remedy: 'use the lanes of the recipe that the topic was made for',
  });

export const topicMismatch = (topic: string, received: number, expected: number): Fault =>
  new Fault({
    code: 'topic-mismatch',
    received: `topic '${topic}' with ${received} partitions`,
    expected: `${expected} partitions`,
    remedy: 'use another --run name, or the recipe (lanes) that the topic was made with',
  });

export const recordTooLarge = (topic: string, bytes: number, cause?: unknown): Fault =>
  new Fault({
    code: 'record-too-large',
    received: `a record of ${bytes} bytes for topic '${topic}'`,
    expected: "at most the topic's maxRecordBytes",
    remedy: 'make smaller chunks, or a new run whose topics take more',
    cause,
  });

export const keyMissing = (topic: string): Fault =>
  new Fault({
    code: 'key-missing',
    received: `a record without a key for the compacted topic '${topic}'`,
    expected: 'a key, because the newest record of each key is what the topic keeps',
    remedy: 'give append() a key',
  });

export const keyTooLong = (topic: string, bytes: number): Fault =>
  new Fault({
    code: 'key-too-long',
    received: `a key of ${bytes} bytes for topic '${topic}'`,
    expected: `at most ${MAX_KEY_BYTES} bytes of UTF-8`,
    remedy: 'use a shorter name',
  });

export const offsetOutOfRange = (topic: string, partition: number, offset: number, end: number): Fault =>
  new Fault({
    code: 'offset-out-of-range',
    received: `offset ${offset} of '${topic}' partition ${partition}`,
    expected: `an offset of at most ${end}, the end of the log`,
    remedy: 'the log was cut or made anew since this position was noted: regenerate it, or use another run',
  });

export const recordLost = (topic: string, partition: number, offset: number, found: string): Fault =>
  new Fault({
    code: 'record-lost',
    received: `'${topic}' partition ${partition}, offset ${offset}: ${found}`,
    expected: 'the bytes that were appended',
    remedy: 'the machine ended before they were on its disk: make them again with stream produce --from-step',
  });

export const unreachable = (url: string, seconds: number, cause: unknown): Fault =>
  new Fault({
    code: 'transport-unreachable',
    received: `no answer from ${url} within ${seconds} s (${reason(cause)})`,
    expected: 'a Kafka broker that listens there and that this machine can reach under its advertised address',
    remedy: "start one with 'ops kafka up', or correct --transport",
    cause,
  });

export const kafkaAuthentication = (received: string, remedy: string): Fault =>
  new Fault({ code: 'kafka-authentication', received, expected: 'a user that the cluster lets in', remedy });

export const kafkaCertificate = (received: string, remedy: string): Fault =>
  new Fault({ code: 'kafka-certificate', received, expected: 'a certificate that both sides accept', remedy });

export const kafkaTls = (received: string, remedy: string): Fault =>
  new Fault({ code: 'kafka-tls', received, expected: 'a Kafka listener that speaks as --transport says', remedy });

export const kafkaAuthorization = (received: string, rights = 'the right'): Fault =>
  new Fault({
    code: 'kafka-authorization',
    received,
    expected: 'a user who may do this',
    remedy: `grant ${rights}: kafka-acls.sh --add; stream/transport/README.md lists the least that is needed`,
  });

export const tooFewBrokers = (url: string, received: number, expected: number): Fault =>
  new Fault({
    code: 'too-few-brokers',
    received: `${received} ${received === 1 ? 'broker' : 'brokers'} at ${url}`,
    expected: `${expected}, one for each copy of a record`,
    remedy: 'start the others, or ask for fewer copies: replication=N in --transport',
  });

export const closedTransport = (url: string): Fault =>
  new Fault({
    code: 'transport-closed',
    received: `a call on ${url} after close()`,
    expected: 'an open transport',
    remedy: 'open it again',
  });

/** The key's bytes, or the Fault that says why it cannot be one. */
export function checkKey(topic: string, key: string | undefined): void {
  const bytes = key === undefined ? 0 : Buffer.byteLength(key);
  if (bytes > MAX_KEY_BYTES) throw keyTooLong(topic, bytes);
}

/** The text of an error and of what caused it, on one line. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message.replaceAll(/\s+/g, ' ') : String(error);
}
