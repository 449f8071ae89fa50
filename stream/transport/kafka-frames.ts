// Reads a broker's answers straight into memory of their size, where Node would give pieces of 64 KB to be joined.

import type { createRequire } from 'node:module';
import type { OnReadOpts } from 'node:net';
import type { KafkaConnection } from './kafka-reconnect.ts';

type Require = ReturnType<typeof createRequire>;

const CONNECTION = 'kafkajs/src/network/connection.js';
/** Bytes of the length that begins an answer. */
const LENGTH_BYTES = 4;
/** Answers that fit are copied out, larger ones have memory of their own. */
const STAGING_BYTES = 64 * 1024;
const GRANULE = 1024 * 1024;
/** A length beyond is none: whoever answers is no broker, and kafkajs is left to find that out. */
const LARGEST = 256 * 1024 * 1024;

/** Memory of a large answer → gives it back to its connection. */
const lent = new WeakMap<ArrayBufferLike, () => void>();

/** Nobody reads the answer any more that this is a part of: its connection may read the next one into its memory. */
export function giveBack({ buffer }: Buffer): void {
  lent.get(buffer)?.();
  lent.delete(buffer);
}

/** For `onread` of a connection, plain or TLS: `deliver` is called with one whole answer at a time. */
export function wholeAnswers(deliver: (answer: Buffer) => void): OnReadOpts {
  const staging = Buffer.allocUnsafeSlow(STAGING_BYTES);
  let staged = 0;
  let large = Buffer.alloc(0);
  let spare = large;
  /** Of the large answer under way; 0 where there is none. */
  let size = 0;
  let filled = 0;
  let foreign = false;
  const begin = (bytes: number) => {
    large = spare.length >= bytes ? spare : Buffer.allocUnsafeSlow(Math.ceil(bytes / GRANULE) * GRANULE);
    spare = Buffer.alloc(0);
    size = bytes;
    filled = 0;
  };
  const end = () => {
    const memory = large;
    lent.set(memory.buffer, () => {
      spare = memory;
    });
    const answer = memory.subarray(0, size);
    size = 0;
    deliver(answer);
  };
  const unstage = () => {
    let at = 0;
    while (staged - at >= LENGTH_BYTES && !foreign) {
      const bytes = LENGTH_BYTES + staging.readInt32BE(at);
      foreign = bytes < LENGTH_BYTES || bytes > LARGEST;
      if (foreign) break;
      if (bytes > STAGING_BYTES) {
        begin(bytes);
        filled = staging.copy(large, 0, at, staged);
        at = staged;
      } else if (bytes <= staged - at) {
        deliver(Buffer.from(staging.subarray(at, at + bytes)));
        at += bytes;
      } else break;
    }
    if (foreign && at < staged) {
      deliver(Buffer.from(staging.subarray(at, staged)));
      at = staged;
    }
    staging.copyWithin(0, at, staged);
    staged -= at;
  };
  return {
    buffer: () => (size > 0 ? large.subarray(filled, size) : staging.subarray(staged)),
    callback: (bytes) => {
      if (size === 0) {
        staged += bytes;
        unstage();
      } else {
        filled += bytes;
        if (filled === size) end();
      }
      return true;
    },
  };
}

const mended = new WeakSet<object>();

/**
 * kafkajs keeps the rest behind an answer, also where nothing is left, and joins it with the next one: a copy of all of it.
 * @returns null, or why it could not be mended.
 */
export function mendJoining(require: Require): string | null {
  try {
    const { prototype } = require(CONNECTION) as {
      prototype: KafkaConnection & { processData(bytes: Buffer): unknown };
    };
    if (mended.has(prototype)) return null;
    const original = prototype.processData;
    prototype.processData = function processData(bytes) {
      if (this.bytesBuffered === 0) this.chunks = [];
      return original.call(this, bytes);
    };
    mended.add(prototype);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
