// Sends a record from where it lies: kafkajs' encoder copies it nine times, each time into new memory.

import type { createRequire } from 'node:module';
import type { Socket } from 'node:net';

type Require = ReturnType<typeof createRequire>;

interface Encoder {
  readonly buffer: Buffer;
  writeInt8(value: number): Encoder;
  writeInt16(value: number): Encoder;
  writeInt32(value: number): Encoder;
  writeUInt32(value: number): Encoder;
  writeInt64(value: unknown): Encoder;
  writeString(value: string | null): Encoder;
  writeVarInt(value: number): Encoder;
  writeVarIntBytes(value: Buffer | string | null): Encoder;
  writeBuffer(value: Buffer): Encoder;
}

interface Message {
  readonly key?: Buffer | string | null;
  readonly value: Buffer | string | null;
  readonly timestamp?: number;
  readonly headers?: object;
}

/** What kafkajs asks to be encoded. */
export interface Produce {
  readonly acks: number;
  readonly timeout: number;
  readonly transactionalId?: string | null;
  readonly producerId: unknown;
  readonly producerEpoch: number;
  readonly compression?: number;
  readonly topicData: readonly {
    readonly topic: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly firstSequence: number;
      readonly messages: readonly Message[];
    }[];
  }[];
}

interface Request {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly encode: () => Promise<Encoder>;
  readonly produce?: Produce;
}

interface Envelope {
  readonly correlationId: number;
  readonly clientId: string;
  readonly request: Request;
}

type CreateRequest = (envelope: Envelope) => Promise<{ readonly buffer: Buffer }>;
type ProduceRequest = (produce: Produce) => Request;
type CreateSocket = (options: object) => Socket;

const REQUEST = 'kafkajs/src/protocol/request.js';
/** Versions 4 to 7 extend it. */
const PRODUCE = 'kafkajs/src/protocol/requests/produce/v3/request.js';
const SOCKET = 'kafkajs/src/network/socket.js';
const ENCODER = 'kafkajs/src/protocol/encoder.js';

/** Smaller ones cost less than the pieces of a request would. */
const IN_PLACE_BYTES = 16 * 1024;
/** No headers. */
const RECORD_END = Buffer.of(0);
const MAGIC = 2;
/** Of a batch's head after its length: leader epoch, magic, checksum. */
const UNCHECKED_BYTES = 9;

/** A request's first bytes → the bytes that follow it, of which the first is the record's value. */
const bodies = new WeakMap<Buffer, readonly [Buffer, Buffer]>();
/** Values that a connection may still read from. */
const unsent = new Map<Buffer, Set<Socket>>();
/** Null: kafkajs' encoder and this one agree. */
let verdict: Promise<string | null> | null = null;
let agreed = false;

/**
 * Replaces three small modules of kafkajs in the module cache, before kafkajs loads: what encodes a produce request keeps
 * what it encodes, what frames a request leaves the value of a lone record out, and a socket writes head and value at once.
 * Any other request is kafkajs' own, and so are all until a comparison of both encoders has ended well.
 * @returns null when records are sent in place, else why they are copied: correct, but slower.
 */
export function sendInPlace(require: Require): Promise<string | null> {
  verdict ??= install(require).catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
  return verdict;
}

/** To be called when an append has ended, either way: what still holds the value's memory is a dead connection. */
export function letGo(value: Buffer): void {
  for (const socket of unsent.get(value) ?? []) socket.destroy(new Error('a record was given up while it was sent'));
  unsent.delete(value);
}

async function install(require: Require): Promise<string | null> {
  const native = require('@node-rs/crc32').crc32c as (bytes: Uint8Array, before?: number) => number;
  const NewEncoder = require(ENCODER) as new (bytes?: number) => Encoder;
  const encodeInPlace = (envelope: Envelope): [Buffer, Buffer, Buffer] | null =>
    encode(envelope, () => new NewEncoder(), native);
  const frame = replace<CreateRequest>(require, REQUEST, (original) => async (envelope) => {
    const parts = agreed ? encodeInPlace(envelope) : null;
    if (parts === null) return original(envelope);
    const [head, value, end] = parts;
    bodies.set(head, [value, end]);
    return { buffer: head };
  });
  const produce = replace<ProduceRequest>(require, PRODUCE, (original) => (each) => {
    return Object.assign(original(each), { produce: each });
  });
  replace<CreateSocket>(require, SOCKET, (original) => (options) => writeInPlace(original(options)));
  const disagreement = await compare(encodeInPlace, frame, produce);
  agreed = disagreement === null;
  return disagreement;
}

/** @returns the original */
function replace<T>(require: Require, name: string, by: (original: T) => T): T {
  require(name);
  const slot = require.cache[require.resolve(name)];
  if (slot === undefined) throw new Error('kafkajs was not loaded through require');
  const original = slot.exports as T;
  slot.exports = by(original);
  return original;
}

/** The request in three parts: all before the value, the value itself, all behind it; null where kafkajs must do it. */
function encode(
  { correlationId, clientId, request: { apiKey, apiVersion, produce } }: Envelope,
  encoder: () => Encoder,
  crc32c: (bytes: Uint8Array, before?: number) => number,
): [Buffer, Buffer, Buffer] | null {
  const [data, ...otherTopics] = produce?.topicData ?? [];
  const [part, ...otherPartitions] = data?.partitions ?? [];
  const [message, ...otherMessages] = part?.messages ?? [];
  if (!produce || !data || !part || !message) return null;
  if (otherTopics.length + otherPartitions.length + otherMessages.length > 0) return null;
  const { key = null, value, timestamp = Date.now(), headers } = message;
  if (!Buffer.isBuffer(value) || value.length < IN_PLACE_BYTES || headers) return null;
  if (produce.transactionalId || produce.compression) return null;
  // Attributes and the differences to the batch's time and offset are 0.
  const fields = encoder().writeInt8(0).writeVarInt(0).writeVarInt(0).writeVarIntBytes(key).writeVarInt(value.length);
  const checked = encoder()
    .writeInt16(0)
    .writeInt32(0)
    .writeInt64(timestamp)
    .writeInt64(timestamp)
    .writeInt64(produce.producerId)
    .writeInt16(produce.producerEpoch)
    .writeInt32(part.firstSequence)
    .writeInt32(1)
    .writeVarInt(fields.buffer.length + value.length + RECORD_END.length)
    .writeBuffer(fields.buffer).buffer;
  const batchBytes = UNCHECKED_BYTES + checked.length + value.length + RECORD_END.length;
  const body = encoder()
    .writeInt16(apiKey)
    .writeInt16(apiVersion)
    .writeInt32(correlationId)
    .writeString(clientId)
    .writeString(null)
    .writeInt16(produce.acks)
    .writeInt32(produce.timeout)
    .writeInt32(1)
    .writeString(data.topic)
    .writeInt32(1)
    .writeInt32(part.partition)
    .writeInt32(12 + batchBytes)
    .writeInt64(0)
    .writeInt32(batchBytes)
    .writeInt32(0)
    .writeInt8(MAGIC)
    .writeUInt32(crc32c(RECORD_END, crc32c(value, crc32c(checked))) >>> 0)
    .writeBuffer(checked).buffer;
  const size = body.length + value.length + RECORD_END.length;
  return [encoder().writeInt32(size).writeBuffer(body).buffer, value, RECORD_END];
}

function writeInPlace(socket: Socket): Socket {
  const write = socket.write as (...rest: unknown[]) => boolean;
  socket.write = function (this: Socket, head: Buffer, ...rest: unknown[]): boolean {
    const body = bodies.get(head);
    if (body === undefined) return write.call(this, head, ...rest);
    const [value, end] = body;
    const holders = unsent.get(value) ?? new Set();
    unsent.set(value, holders.add(socket));
    this.cork();
    write.call(this, head);
    write.call(this, value);
    const more = write.call(this, end, () => {
      holders.delete(socket);
      if (holders.size === 0 && unsent.get(value) === holders) unsent.delete(value);
    });
    this.uncork();
    return more;
  } as Socket['write'];
  return socket;
}

/** Why the two encoders cannot stand for each other, or null: lengths around those where a field takes a byte more. */
export async function compare(
  inPlace: (envelope: Envelope) => readonly Buffer[] | null,
  frame: CreateRequest,
  produce: ProduceRequest,
): Promise<string | null> {
  const bytes = Buffer.alloc(2 ** 20 + 1, 'no power of two is a multiple of this');
  const records = [
    { key: null, length: IN_PLACE_BYTES },
    { key: 'k', length: IN_PLACE_BYTES + 1 },
    { key: 'é'.repeat(70), length: 2 ** 20 - 1 },
    { key: null, length: 2 ** 20 + 1 },
  ];
  for (const { key, length } of records) {
    const message = { key, value: bytes.subarray(0, length), timestamp: 1_750_000_000_000 + length };
    const part = { partition: length % 7, firstSequence: length, messages: [message] };
    const topicData = [{ topic: 'a-run.train.224', partitions: [part] }];
    const each: Produce = { acks: -1, timeout: 10_000, producerId: '4000000007', producerEpoch: 3, topicData };
    const request: Request = { ...produce(each), apiVersion: 7, produce: each };
    const envelope: Envelope = { correlationId: length, clientId: 'medium-recipe', request };
    const ours = inPlace(envelope);
    if (ours === null) return 'a record is not encoded in place';
    const theirs = (await frame(envelope)).buffer;
    if (!Buffer.concat(ours).equals(theirs)) return `the encoders differ at ${length} bytes`;
  }
  return null;
}
