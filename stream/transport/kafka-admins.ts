// kafkajs' admins: one kept for each topic that is asked about again and again, as every other takes connections of its own.

import type { Admin } from 'kafkajs';
import type { KafkaClient } from './kafka-client.ts';

/**
 * An admin remembers every topic it was asked about and fails for good when one of them is deleted: so it serves one
 * topic, and is let go with the first operation that fails.
 */
export class KafkaAdmins {
  readonly #client: Pick<KafkaClient, 'kafka' | 'retry'>;
  readonly #kept = new Map<string, Promise<Admin>>();

  constructor(client: Pick<KafkaClient, 'kafka' | 'retry'>) {
    this.#client = client;
  }

  /** Connected, and the caller's: `release` it. With a `topic`, the one that is kept for it. */
  connected(topic: string | null): Promise<Admin> {
    if (topic === null) return this.#connect();
    const kept = this.#kept.get(topic) ?? this.#connect();
    this.#kept.set(topic, kept);
    return kept;
  }

  /** After use. Not awaited: a connection that never answered takes its request's timeout to close. */
  release(admin: Promise<Admin>, topic: string | null, failed: boolean): void {
    if (topic !== null && !failed) return;
    if (topic !== null && this.#kept.get(topic) === admin) this.#kept.delete(topic);
    admin.then((connected) => connected.disconnect()).catch(() => undefined);
  }

  async #connect(): Promise<Admin> {
    const admin = this.#client.kafka.admin({ retry: this.#client.retry });
    try {
      await admin.connect();
      return admin;
    } catch (error) {
      admin.disconnect().catch(() => undefined);
      throw error;
    }
  }
}
