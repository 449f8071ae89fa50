// Kafka's parts that need no broker: the checksum, errors, one partition's queue, and a broker out of reach.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import net from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { crc32c } from '@node-rs/crc32';
import fc from 'fast-check';
import { Fault } from '#shards';
import { openTransport } from '../../../stream/transport/index.ts';
import { createClient, failureOf } from '../../../stream/transport/kafka-client.ts';
import { compare, useNativeCrc32c } from '../../../stream/transport/kafka-crc.ts';
import { KafkaLane } from '../../../stream/transport/kafka-lane.ts';
import { type KafkaConnection, mendReconnect } from '../../../stream/transport/kafka-reconnect.ts';

const require = createRequire(import.meta.url);

describe('the checksum', () => {
  test('is the native one in the kafkajs that we load, also when somebody else loaded kafkajs before', () => {
    require('kafkajs');
    const client = createClient(['127.0.0.1:1'], () => undefined);
    assert.equal(client.slowCrc, null);
    // What kafkajs encodes a batch with is the module that was replaced.
    const encode = require('kafkajs/src/protocol/recordBatch/v0/index.js').RecordBatch;
    const path = require.resolve('kafkajs/src/protocol/recordBatch/crc32C/index.js');
    assert.equal(require.cache[path]?.children.length, 1, 'the original was loaded only to compare');
    assert.equal(typeof encode, 'function');
    assert.equal(useNativeCrc32c(require), null, 'a second time nothing is to do');
  });

  test('is not replaced by one that is wrong anywhere', () => {
    const right = (bytes: Buffer) => crc32c(bytes) >>> 0;
    assert.equal(compare(right, right), null);
    assert.match(compare(() => 0, right) ?? '', /check value/);
    assert.match(compare((bytes) => (bytes.length === 64 ? 0 : right(bytes)), right) ?? '', /64 bytes/);
  });
});

test('an error is named by what the broker said, under all of kafkajs’ wrappers', () => {
  const wrap = (cause: Error) => new Error('wrapped', { cause });
  const protocol = Object.assign(new Error('too\nlarge'), { type: 'MESSAGE_TOO_LARGE', retriable: false });
  assert.deepEqual(failureOf(wrap(wrap(protocol))), { type: 'MESSAGE_TOO_LARGE', message: 'too large', refused: true });
  const moved = Object.assign(new Error('moved'), { type: 'NOT_LEADER_FOR_PARTITION', retriable: true });
  assert.equal(failureOf(new AggregateError([moved])).refused, false);
  assert.deepEqual(failureOf(wrap(new TypeError('x'))), { type: 'TypeError', message: 'x', refused: false });
  assert.deepEqual(failureOf('text'), { type: 'Error', message: 'text', refused: false });
  const cut = Object.assign(new Error('cut'), { name: 'KafkaJSConnectionError', code: 'ECONNRESET', broker: 'a:1' });
  const { code, broker } = failureOf(wrap(cut));
  assert.deepEqual([code, broker], ['ECONNRESET', 'a:1']);
});

test('of several errors the one that matters is told', () => {
  const protocol = (type: string) => Object.assign(new Error(type), { type, retriable: false });
  const there = protocol('TOPIC_ALREADY_EXISTS');
  const denied = protocol('TOPIC_AUTHORIZATION_FAILED');
  assert.equal(failureOf(new AggregateError([there, denied])).type, 'TOPIC_AUTHORIZATION_FAILED');
  assert.equal(failureOf(new AggregateError([there, there])).type, 'TOPIC_ALREADY_EXISTS');
  const deletion = Object.assign(new Error('Error while deleting records'), {
    name: 'KafkaJSDeleteTopicRecordsError',
    partitions: [{ partition: 0 }, { partition: 1, error: denied }],
  });
  assert.equal(failureOf(new Error('wrapped', { cause: deletion })).type, 'TOPIC_AUTHORIZATION_FAILED');
});

describe('one partition’s queue', () => {
  const message = (offset: number) => ({ offset: String(offset), key: null, value: Buffer.from([offset]) });

  test('takes each record once and in order, whatever fetches overlap, repeat or are out of date', async () => {
    const fetches = fc.array(fc.record({ from: fc.nat(30), count: fc.nat(8), seek: fc.option(fc.nat(30)) }));
    await fc.assert(
      fc.asyncProperty(fetches, async (steps) => {
        const lane = new KafkaLane(0);
        let position = 0;
        for (const { from, count, seek } of steps) {
          if (seek !== null) {
            lane.seek(seek);
            position = seek;
          }
          lane.offer(
            from,
            Array.from({ length: count }, (_, i) => message(from + i)),
          );
          const queued = lane.bytes;
          for (let i = 0; i < queued; i++) assert.equal((await lane.take())?.offset, position++);
          assert.equal(lane.position, position);
          assert.equal(lane.bytes, 0);
        }
      }),
    );
  });

  test('does not keep the answer that brought a record', async () => {
    const answer = Buffer.alloc(MB, 1);
    const lane = new KafkaLane(0);
    lane.offer(0, [{ offset: '0', key: null, value: answer.subarray(100, 20_000) }]);
    const record = await lane.take();
    assert.equal(record?.value.buffer.byteLength, 19_900);
  });

  test('gives out what is queued before it fails, and a seek heals it', async () => {
    const fault = new Fault({ code: 'x', received: '', expected: '', remedy: '' });
    const lane = new KafkaLane(0);
    lane.offer(0, [message(0)]);
    lane.fail(fault);
    assert.equal((await lane.take())?.offset, 0);
    await assert.rejects(lane.take(), fault);
    lane.seek(5);
    const waiting = lane.take();
    lane.offer(5, [message(5)]);
    assert.equal((await waiting)?.offset, 5);
  });
});

const MB = 1_000_000;

describe('connecting again', () => {
  interface ConnectionClass {
    new (options: object): KafkaConnection & { disconnect(): Promise<unknown> };
  }

  async function connectionTo(serve: (socket: net.Socket, nth: number) => void) {
    assert.equal(mendReconnect(require), null);
    const Connection = require('kafkajs/src/network/connection.js') as ConnectionClass;
    let accepted = 0;
    const server = net.createServer((socket) =>
      serve(
        socket.on('error', () => undefined),
        accepted++,
      ),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    const silent = { debug() {}, info() {}, warn() {}, error() {}, namespace: () => silent };
    const connection = new Connection({
      host: '127.0.0.1',
      port,
      logger: silent,
      socketFactory: ({ onConnect }: { onConnect: () => void }) => net.connect({ host: '127.0.0.1', port }, onConnect),
      requestTimeout: 1000,
      connectionTimeout: 1000,
    });
    return {
      connection,
      accepted: () => accepted,
      end: async () => {
        await connection.disconnect();
        connection.socket?.destroy();
        server.close();
        await once(server, 'close');
      },
    };
  }

  test('keeps nothing of an answer that the lost connection cut off', async () => {
    const cutOff = Buffer.from([0, 0, 0, 100, 1, 2]);
    const { connection, end } = await connectionTo((socket, nth) => (nth === 0 ? socket.end(cutOff) : socket.resume()));
    try {
      await connection.connect();
      await once(connection.socket as net.Socket, 'close');
      assert.equal(connection.bytesBuffered, cutOff.length, 'kafkajs still keeps it: else the repair can go');
      await connection.connect();
      assert.deepEqual([connection.chunks, connection.bytesBuffered, connection.bytesNeeded], [[], 0, 4]);
    } finally {
      await end();
    }
  });

  test('is one attempt for all who ask at once', async () => {
    const { connection, accepted, end } = await connectionTo((socket) => socket.resume());
    try {
      await Promise.all([connection.connect(), connection.connect(), connection.connect()]);
      assert.equal(accepted(), 1);
    } finally {
      await end();
    }
  });
});

describe('a broker out of reach', () => {
  const servers: { server: net.Server; sockets: Set<net.Socket> }[] = [];
  afterEach(async () => {
    for (const { server, sockets } of servers.splice(0)) {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    }
  });

  async function listen(): Promise<number> {
    const sockets = new Set<net.Socket>();
    const server = net.createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined).resume();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push({ server, sockets });
    return (server.address() as net.AddressInfo).port;
  }

  const namesTheBroker = (url: string) => (error: unknown) => {
    assert.ok(error instanceof Fault && error.code === 'transport-unreachable');
    assert.ok(error.received.includes(url) && error.remedy.includes('ops kafka up') && !error.message.includes('\n'));
    return true;
  };

  test('is a Fault that names it, where nobody listens', { timeout: 20_000 }, async () => {
    const port = await listen();
    const [holder] = servers.splice(0);
    holder?.server.close();
    const url = `kafka://127.0.0.1:${port}`;
    await assert.rejects(openTransport(url, { patienceMs: 500 }), namesTheBroker(url));
  });

  test('is a Fault that names it, where somebody listens who says nothing', { timeout: 20_000 }, async () => {
    const url = `kafka://127.0.0.1:${await listen()}`;
    await assert.rejects(openTransport(url, { patienceMs: 500 }), namesTheBroker(url));
  });
});
