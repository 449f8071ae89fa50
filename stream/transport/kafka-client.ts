// Loads kafkajs with our settings, keeps hold of its sockets, and tells its errors apart.

import { createRequire } from 'node:module';
import net from 'node:net';
import type { AssignerProtocol, Cluster, Kafka, RetryOptions } from 'kafkajs';
import { mendAnswers, saslMechanism } from './kafka-answers.ts';
import { useNativeCrc32c } from './kafka-crc.ts';
import { mendJoining, wholeAnswers } from './kafka-frames.ts';
import { sendInPlace } from './kafka-in-place.ts';
import { mendReconnect } from './kafka-reconnect.ts';
import { type KafkaSecurity, NO_SECURITY } from './kafka-security.ts';
import { connectSocket } from './kafka-sockets.ts';

type KafkaJs = typeof import('kafkajs');

/**
 * A single call into kafkajs stays short (about 2 s when nothing answers): patience is ours, so that one deadline
 * holds for everything and every retry is counted.
 */
const RETRY: RetryOptions = { initialRetryTime: 50, maxRetryTime: 500, retries: 3 };

/** Brokers that just started, or have not heard of a new topic, deny for so long that it exists. */
export const UNKNOWN_TOPIC_MS = 5000;

export interface KafkaClient {
  readonly kafka: Kafka;
  readonly retry: RetryOptions;
  /** Why kafkajs computes its checksums in JavaScript; null when the native one is in place. */
  readonly slowCrc: string | null;
  /** Why kafkajs' reconnecting, or its hiding of answers, could not be mended; null when both are. */
  readonly unmended: string | null;
  /** How a group's members tell each other things. */
  readonly codec: typeof AssignerProtocol;
  /** Why records are copied more often than they need to be; null when they are not. */
  readonly copying: Promise<string | null>;
  /** A pool of connections to the brokers, for fetching without a consumer group. */
  cluster(): Cluster;
  /**
   * Ends every connection and makes no other. kafkajs leaves sockets open when one was lost while another request
   * reconnected, and on a server that says nothing its requests would keep the process alive until they time out.
   */
  destroySockets(): void;
}

export interface ClientOptions {
  readonly clientId?: string;
  readonly security?: KafkaSecurity;
}

/** `onLost` is told of each connection that the other side ended: kafkajs mends most of them without a word. */
export function createClient(
  brokers: readonly string[],
  onLost: () => void,
  { clientId = 'medium-recipe', security = NO_SECURITY }: ClientOptions = {},
): KafkaClient {
  const require = createRequire(import.meta.url);
  const slowCrc = useNativeCrc32c(require);
  const inPlace = sendInPlace(require);
  const unmended = [mendReconnect(require), mendAnswers(require)].find((why) => why !== null) ?? null;
  const copying = mendJoining(require);
  const { tls, sasl } = security;
  const { AssignerProtocol: codec, Kafka, PartitionAssigners, logLevel } = require('kafkajs') as KafkaJs;
  const sockets = new Set<net.Socket>();
  let ended = false;
  const kafka = new Kafka({
    clientId,
    brokers: [...brokers],
    // A handshake is work, and a Java broker that just started is slow at its first ones.
    connectionTimeout: tls === null ? 3000 : 10_000,
    ...(sasl === null ? {} : { sasl: saslMechanism(require, sasl) }),
    // Longer than any pause of a broker that is alive; a request on a dead connection takes this long to fail.
    requestTimeout: 15_000,
    retry: RETRY,
    // What goes wrong is counted and told by the transport, with more context than kafkajs has.
    logLevel: logLevel.NOTHING,
    socketFactory: ({ host, port, onConnect }) => {
      if (ended) {
        const refused = new net.Socket();
        process.nextTick(() => refused.destroy(new Error('the transport is closed')));
        return refused;
      }
      const onread = wholeAnswers((answer) => socket.emit('data', answer));
      const socket: net.Socket = connectSocket({ host, port, tls, onread, onConnect });
      sockets.add(socket);
      let connected = false;
      const lose = () => {
        if (connected && !ended && !socket.writableEnded) onLost();
        connected = false;
      };
      socket.once(tls === null ? 'connect' : 'secureConnect', () => {
        connected = true;
      });
      socket.once('end', lose);
      socket.once('error', lose);
      socket.once('close', () => {
        sockets.delete(socket);
        // kafkajs lets go of a lost connection again and again, and Node adds a listener each time that a closed socket is.
        socket.unref = () => socket;
      });
      return socket;
    },
  });
  return {
    kafka,
    retry: RETRY,
    slowCrc,
    unmended,
    codec,
    copying: inPlace.then((reason) => reason ?? copying),
    cluster() {
      // kafkajs gives its cluster to partition assigners only. The consumer itself is never started: no group, no
      // heartbeat, no rebalance.
      let found: Cluster | undefined;
      kafka.consumer({
        groupId: 'medium-recipe-unused',
        allowAutoTopicCreation: false,
        partitionAssigners: [
          (config) => {
            found = config.cluster;
            return PartitionAssigners.roundRobin(config);
          },
        ],
      });
      if (found === undefined) throw new Error('kafkajs created a consumer without asking its partition assigner');
      return found;
    },
    destroySockets() {
      ended = true;
      // With an error: kafkajs rejects what waits for an answer on 'error', not on 'close'.
      for (const socket of sockets) socket.destroy(new Error('the transport is closed'));
    },
  };
}

/** The broker's name for what went wrong (`MESSAGE_TOO_LARGE`, …), or kafkajs' (`KafkaJSConnectionError`, …). */
export interface KafkaFailure {
  readonly type: string;
  readonly message: string;
  /** The broker said no and will say no again. */
  readonly refused: boolean;
  /** Where an offset was out of range. */
  readonly partition?: number;
  /** The system's or TLS' name for what became of a connection (`ECONNREFUSED`, `CERT_HAS_EXPIRED`, …). */
  readonly code?: string;
  /** HOST:PORT of that connection. */
  readonly broker?: string;
}

/** Refusals that pass: the broker starts, moves a leader, or has not heard of a new topic yet. */
const PASSING = new Set([
  'UNKNOWN_TOPIC_OR_PARTITION',
  'NOT_CONTROLLER',
  'UNKNOWN',
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'DUPLICATE_SEQUENCE_NUMBER',
  'PRODUCER_FENCED',
]);

interface KafkaJsError {
  readonly name: string;
  readonly message: string;
  readonly type?: string;
  readonly retriable?: boolean;
  readonly partition?: number;
  readonly code?: unknown;
  readonly broker?: string;
  readonly cause?: unknown;
  readonly errors?: readonly unknown[];
  /** Of deleted records, by partition. */
  readonly partitions?: readonly { readonly error?: unknown }[];
}

/** What is worth telling of several: that a topic is there already says nothing of why another could not be made. */
function weightiest(errors: readonly unknown[] | undefined): unknown {
  return errors?.find((each) => (each as KafkaJsError | undefined)?.type !== 'TOPIC_ALREADY_EXISTS') ?? errors?.[0];
}

/** Finds the protocol error under kafkajs' wrappers (retries exceeded, aggregate, non-retriable). */
export function failureOf(error: unknown): KafkaFailure {
  let deepest: KafkaJsError | undefined;
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; depth++) {
    deepest = at as KafkaJsError;
    if (deepest.type !== undefined) break;
    at = weightiest(deepest.errors) ?? deepest.partitions?.find(({ error }) => error)?.error ?? deepest.cause;
  }
  if (deepest === undefined) return { type: 'Error', message: String(error), refused: false };
  const { type, name, message, retriable, partition, code, broker } = deepest;
  return {
    type: type ?? name,
    message: message.replaceAll(/\s+/g, ' '),
    refused: type !== undefined && retriable === false && !PASSING.has(type),
    ...(partition === undefined ? {} : { partition }),
    ...(typeof code === 'string' ? { code } : {}),
    ...(broker === undefined ? {} : { broker }),
  };
}
