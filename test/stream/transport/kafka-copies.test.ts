// How records go to Kafka and back without copies: requests in place, whole answers, memory that goes round.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import net from 'node:net';
import { describe, test } from 'node:test';
import { crc32c } from '@node-rs/crc32';
import fc from 'fast-check';
import { createClient } from '../../../stream/transport/kafka-client.ts';
import { giveBack, wholeAnswers } from '../../../stream/transport/kafka-frames.ts';
import { compare, letGo, sendInPlace } from '../../../stream/transport/kafka-in-place.ts';
import { KafkaValues } from '../../../stream/transport/kafka-values.ts';

const require = createRequire(import.meta.url);
const MIB = 1024 * 1024;

/** As a broker frames it, of bytes that tell where they belong. */
function answerOf(bytes: number, seed: number): Buffer {
  const answer = Buffer.alloc(4 + bytes, `${seed} `);
  answer.writeInt32BE(bytes);
  return answer;
}

/** Node's part of `onread`: it fills what `buffer` gives, never more, and tells how far. */
function feed({ buffer, callback }: net.OnReadOpts, bytes: Buffer, pieces: readonly number[] = []): void {
  const next = buffer as () => Uint8Array;
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const into = next();
    const wanted = pieces[i % Math.max(1, pieces.length)] ?? bytes.length;
    const count = bytes.copy(into, 0, at, Math.min(at + wanted, bytes.length));
    assert.ok(count > 0, 'there is room for the next byte');
    callback(count, into);
    at += count;
  }
}

describe('an answer', () => {
  test('comes whole and once, however it is cut and whatever stands beside it', () => {
    const sizes = fc.array(fc.oneof(fc.nat(40), fc.integer({ min: 65_500, max: 65_600 }), fc.nat(200_000)));
    const pieces = fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1000, max: 300_000 })), {
      minLength: 1,
    });
    fc.assert(
      fc.property(sizes, pieces, (bytes, cuts) => {
        const answers = bytes.map(answerOf);
        const delivered: Buffer[] = [];
        feed(
          wholeAnswers((answer) => delivered.push(Buffer.from(answer))),
          Buffer.concat(answers),
          // A megabyte a byte at a time proves no more, and takes long.
          answers.length > 3 ? cuts.map((cut) => cut + 500) : [...cuts, 5000],
        );
        assert.equal(delivered.length, answers.length);
        for (const [i, answer] of answers.entries()) assert.ok(delivered[i]?.equals(answer), `answer ${i}`);
      }),
      { numRuns: 50 },
    );
  });

  test('has memory of its own until that is given back, and a larger one in any case', () => {
    const answers: Buffer[] = [];
    const onread = wholeAnswers((answer) => answers.push(answer));
    const next = (bytes: number): Buffer => {
      feed(onread, answerOf(bytes, answers.length));
      return answers.at(-1) as Buffer;
    };
    const [first, second] = [next(MIB), next(MIB)];
    assert.notEqual(first.buffer, second.buffer);
    giveBack(second.subarray(10));
    const third = next(MIB - 1);
    assert.equal(third.buffer, second.buffer);
    assert.ok(first.equals(answerOf(MIB, 0)) && third.equals(answerOf(MIB - 1, 2)));
    giveBack(third);
    giveBack(third);
    assert.notEqual(next(2 * MIB).buffer, third.buffer);
  });

  test('that no broker sends goes through as it is', () => {
    const text = Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n');
    const delivered: Buffer[] = [];
    const onread = wholeAnswers((bytes) => delivered.push(bytes));
    feed(onread, Buffer.concat([answerOf(7, 1), text]), [13, 5]);
    assert.equal(Buffer.concat(delivered).toString('latin1'), Buffer.concat([answerOf(7, 1), text]).toString('latin1'));
  });
});

describe('a record in its request', () => {
  test('is encoded as kafkajs does, which the start of a client finds out', async () => {
    assert.equal(await createClient(['127.0.0.1:1'], () => undefined).copying, null);
    assert.equal(await sendInPlace(require), null, 'a second time nothing is to do');
  });

  test('is left to kafkajs where the encoders differ', async () => {
    const request = { apiKey: 0, apiVersion: 7, encode: () => Promise.reject(new Error('not asked for')) };
    const frame = () => Promise.resolve({ buffer: Buffer.from('right') });
    const produce = () => request;
    assert.equal(await compare(() => [Buffer.from('rig'), Buffer.from('ht')], frame, produce), null);
    assert.match((await compare(() => [Buffer.from('wrong')], frame, produce)) ?? '', /differ at 16384 bytes/);
    assert.match((await compare(() => null, frame, produce)) ?? '', /not encoded in place/);
  });

  interface KafkaJs {
    createRequest(envelope: object): Promise<{ buffer: Buffer }>;
    createSocket(options: object): net.Socket;
    produce(asked: object): object;
  }

  /** kafkajs' own modules, as they are after the start of a client. */
  async function kafkaJs(): Promise<KafkaJs> {
    assert.equal(await sendInPlace(require), null);
    return {
      createRequest: require('kafkajs/src/protocol/request.js'),
      createSocket: require('kafkajs/src/network/socket.js'),
      produce: require('kafkajs/src/protocol/requests/produce/v3/request.js'),
    };
  }

  async function headOf({ createRequest, produce }: KafkaJs, value: Buffer): Promise<Buffer> {
    const messages = [{ key: null, value }];
    const topicData = [{ topic: 't', partitions: [{ partition: 0, firstSequence: 0, messages }] }];
    const request = produce({ acks: -1, timeout: 1, producerId: '1', producerEpoch: 0, topicData });
    return (await createRequest({ correlationId: 1, clientId: 'test', request })).buffer;
  }

  async function connected(serve: (socket: net.Socket) => void) {
    const kafka = await kafkaJs();
    const accepted: net.Socket[] = [];
    const server = net.createServer((from) => {
      accepted.push(from.on('error', () => undefined));
      serve(from);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    const ignore = () => undefined;
    const handlers = { onConnect: ignore, onData: ignore, onEnd: ignore, onError: ignore, onTimeout: ignore };
    const socketFactory = () => net.connect({ host: '127.0.0.1', port });
    const socket = kafka.createSocket({ socketFactory, ...handlers });
    await once(socket, 'connect');
    const end = async () => {
      for (const each of [socket, ...accepted]) each.destroy();
      server.close();
      await once(server, 'close');
    };
    return { kafka, socket, end };
  }

  test('goes over the connection whole, and its checksum is that of its batch', async () => {
    const value = Buffer.alloc(3 * MIB, 'a value of several writes');
    let received = Buffer.alloc(0);
    let tellAll: () => void = () => undefined;
    const all = new Promise<void>((resolve) => {
      tellAll = resolve;
    });
    const { kafka, socket, end } = await connected((from) =>
      from.on('data', (bytes) => {
        received = Buffer.concat([received, bytes]);
        if (received.length >= 4 + received.readInt32BE(0)) tellAll();
      }),
    );
    try {
      const head = await headOf(kafka, value);
      assert.ok(head.length < 512, 'the value is not in it');
      socket.write(head);
      await all;
      assert.equal(received.length, 4 + received.readInt32BE(0));
      assert.ok(received.includes(value));
      // Offset 8, length 4, epoch 4, magic 1, checksum 4, and all that follows is checked.
      const magic = head.indexOf(Buffer.from([0, 0, 0, 0, 2])) + 4;
      assert.equal(received.readUInt32BE(magic + 1), crc32c(received.subarray(magic + 5)) >>> 0);
      letGo(value);
      assert.equal(socket.destroyed, false, 'what was sent is not read again');
    } finally {
      await end();
    }
  });

  test('that is given up is no longer read from: its connection ends', async () => {
    const value = Buffer.alloc(64 * MIB);
    // The other side never reads, so the connection takes a part only.
    const { kafka, socket, end } = await connected((from) => from.pause());
    try {
      socket.write(await headOf(kafka, value));
      letGo(Buffer.alloc(10));
      assert.equal(socket.destroyed, false);
      letGo(value);
      assert.equal(socket.destroyed, true);
    } finally {
      await end();
    }
  });
});

describe('memory of values', () => {
  test('goes round when it was released, once, and only then', () => {
    const values = new KafkaValues();
    const answer = Buffer.alloc(MIB, 'answer');
    const first = values.copy(answer);
    const second = values.copy(answer);
    assert.ok(first.equals(answer) && first.buffer !== answer.buffer && first.buffer !== second.buffer);
    values.release(first);
    values.release(first);
    const third = values.copy(answer.subarray(1));
    const fourth = values.copy(answer);
    assert.equal(third.buffer, first.buffer);
    assert.ok(third.equals(answer.subarray(1)));
    assert.equal(new Set([second.buffer, third.buffer, fourth.buffer]).size, 3);
  });

  test('of a step’s smaller chunk does for the larger', () => {
    const values = new KafkaValues();
    const [larger, smaller] = [Buffer.alloc(900_000, 'l'), Buffer.alloc(600_000, 's')];
    const held = values.copy(larger);
    const released = values.copy(smaller);
    values.release(released);
    const again = values.copy(larger);
    assert.equal(again.buffer, released.buffer);
    assert.ok(again.equals(larger) && held.equals(larger) && held.buffer !== again.buffer);
  });

  test('is little more than the value, and nobody else’s', () => {
    for (const bytes of [0, 1, 20_000, 262_143, 262_145, 900_000]) {
      const copy = new KafkaValues().copy(Buffer.alloc(bytes, 'x'));
      assert.equal(copy.length, bytes);
      assert.ok(bytes < 8192 || copy.buffer.byteLength <= 1.25 * bytes, `${copy.buffer.byteLength} for ${bytes}`);
    }
    const values = new KafkaValues();
    const large = values.copy(Buffer.alloc(10 * MIB));
    assert.ok(values.copy(Buffer.alloc(MIB)).buffer.byteLength < large.buffer.byteLength / 2);
    const foreign = Buffer.alloc(MIB);
    values.release(foreign);
    assert.notEqual(values.copy(foreign).buffer, foreign.buffer);
  });
});
