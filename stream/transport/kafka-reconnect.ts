// Mends how kafkajs 2.2.4 connects again: one attempt at a time, and nothing of the old connection in the new one.

import type { createRequire } from 'node:module';
import type { Socket } from 'node:net';

type Require = ReturnType<typeof createRequire>;

/** The fields of kafkajs' Connection that are used. */
export interface KafkaConnection {
  chunks: Buffer[];
  bytesBuffered: number;
  bytesNeeded: number;
  socket?: Socket;
  isConnected(): boolean;
  connect(): Promise<true>;
}

const CONNECTION = 'kafkajs/src/network/connection.js';
/** Bytes of the length that begins an answer. */
const LENGTH_BYTES = 4;

const mended = new WeakSet<object>();

/**
 * kafkajs keeps a half-received answer when a connection breaks, takes the next connection's bytes for its rest, and
 * then throws out of a socket's event, which ends the process (seen in one of three runs that killed a broker). And
 * where two lanes find their connection gone, both open a socket and one of them is never closed.
 * @returns null, or why it could not be mended.
 */
export function mendReconnect(require: Require): string | null {
  try {
    const { prototype } = require(CONNECTION) as { prototype: KafkaConnection };
    if (mended.has(prototype)) return null;
    const original = prototype.connect;
    const connecting = new WeakMap<KafkaConnection, Promise<true>>();
    prototype.connect = function connect(this: KafkaConnection): Promise<true> {
      if (this.isConnected()) return Promise.resolve(true);
      const underway = connecting.get(this);
      if (underway !== undefined) return underway;
      this.socket?.destroy();
      this.chunks = [];
      this.bytesBuffered = 0;
      this.bytesNeeded = LENGTH_BYTES;
      const attempt = original.call(this).finally(() => connecting.delete(this));
      connecting.set(this, attempt);
      return attempt;
    };
    mended.add(prototype);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
