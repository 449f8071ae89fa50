// Mends where kafkajs 2.2.4 keeps the broker's answer to itself, so that a refusal is told from a connection that broke.

import type { createRequire } from 'node:module';
import type { AuthenticationProviderArgs, Mechanism } from 'kafkajs';
import type { KafkaCredentials } from './kafka-security.ts';
import type { SaslMechanism } from './kafka-url.ts';

type Require = ReturnType<typeof createRequire>;
type Provider = (credentials: { username: string; password: string }) => Mechanism['authenticationProvider'];

const PROVIDERS: Readonly<Record<SaslMechanism, string>> = {
  plain: 'kafkajs/src/broker/saslAuthenticator/plain.js',
  'scram-sha-256': 'kafkajs/src/broker/saslAuthenticator/scram256.js',
  'scram-sha-512': 'kafkajs/src/broker/saslAuthenticator/scram512.js',
};

/**
 * kafkajs' own exchange, but with the error that it met: kafkajs makes one kind of all, not to be tried again, also
 * where the connection broke in the midst of it because the broker restarts.
 */
export function saslMechanism(require: Require, { mechanism, username, password }: KafkaCredentials): Mechanism {
  const provide = (require(PROVIDERS[mechanism]) as Provider)({ username, password });
  return {
    mechanism,
    authenticationProvider: (options) => {
      let met: unknown;
      const saslAuthenticate: AuthenticationProviderArgs['saslAuthenticate'] = async (exchange) => {
        try {
          return await options.saslAuthenticate(exchange);
        } catch (error) {
          met = error;
          throw error;
        }
      };
      const authenticator = provide({ ...options, saslAuthenticate });
      return {
        authenticate: async () => {
          try {
            await authenticator.authenticate();
          } catch (error) {
            throw met ?? error;
          }
        },
      };
    },
  };
}

/** The parts of kafkajs' BrokerPool that are used. */
interface BrokerPool {
  withBroker<T>(ask: (each: { nodeId: string; broker: unknown }) => Promise<T>): Promise<T | null>;
}

const mended = new WeakSet<object>();

/**
 * kafkajs asks one broker after the other, drops what each of them says, and then knows only that it has no answer: a
 * group without the rights looks like one without a coordinator. An answer about rights is the same at every broker.
 * @returns null, or why it could not be mended.
 */
export function mendAnswers(require: Require): string | null {
  try {
    const { prototype } = require('kafkajs/src/cluster/brokerPool.js') as { prototype: BrokerPool };
    if (mended.has(prototype)) return null;
    const original = prototype.withBroker;
    prototype.withBroker = async function withBroker<T>(
      this: BrokerPool,
      ask: Parameters<typeof original<T>>[0],
    ): Promise<T | null> {
      let denied: unknown;
      const found = await original.call(this, (each) =>
        ask(each).catch((error: { type?: string }) => {
          if (error.type?.endsWith('_AUTHORIZATION_FAILED')) denied = error;
          throw error;
        }),
      );
      if (found === null && denied !== undefined) throw denied;
      return found as T | null;
    };
    mended.add(prototype);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
