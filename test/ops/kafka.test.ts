// The broker that `ops kafka` runs: it takes and gives records, survives its own death, and is told from others.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { appendFile, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Kafka, logLevel } from 'kafkajs';
import { statusKafka, upKafka } from '#ops';
import { freePorts, serverProperties } from '../../ops/kafka/config.ts';
import { difference, jarFolder, pinnedJars } from '../../ops/kafka/jars.ts';
import { packageRoot, which } from '../../ops/setup/plain.ts';
import { startBroker, type TestBroker } from '../broker.ts';
import { requirement } from '../requirements.ts';

const run = promisify(execFile);
const CLI = fileURLToPath(new URL('dist/ops/cli.js', packageRoot));

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `ops kafka …` to its end. */
async function ops(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ended> {
  try {
    return { code: 0, ...(await run(process.execPath, [CLI, 'kafka', ...args], { env })) };
  } catch (error) {
    return error as Ended;
  }
}

const client = (transport: string): Kafka =>
  new Kafka({ brokers: [transport.slice('kafka://'.length)], logLevel: logLevel.NOTHING });

async function append(transport: string, value: string): Promise<void> {
  const producer = client(transport).producer({ idempotent: true });
  await producer.connect();
  await producer.send({ topic: 'photos', acks: -1, messages: [{ value }] });
  await producer.disconnect();
}

/** The first `count` values of the topic. */
async function values(transport: string, count: number): Promise<string[]> {
  const consumer = client(transport).consumer({ groupId: `test-${process.pid}-${Math.random()}` });
  await consumer.connect();
  await consumer.subscribe({ topic: 'photos', fromBeginning: true });
  const got: string[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      // Right after a start the group's coordinator may still be loading; kafkajs says crash, waits and tries again.
      consumer.on(consumer.events.CRASH, ({ payload }) => (payload.restart ? undefined : reject(payload.error)));
      consumer
        .run({
          eachMessage: async ({ message }) => {
            got.push(String(message.value));
            if (got.length === count) resolve();
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  return got;
}

/** A broker on a busy machine starts in 20 s; what hangs ends here instead of holding up the whole run. */
const timeout = 240_000;

suite('a broker', { ...requirement('kafka'), timeout }, () => {
  let broker: TestBroker;
  before(async () => {
    broker = await startBroker();
  });
  after(() => broker.stop());

  test('takes a record and gives it back', async () => {
    const admin = client(broker.transport).admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'photos' }] });
    await admin.disconnect();
    await append(broker.transport, 'first');
    assert.deepEqual(await values(broker.transport, 1), ['first']);
  });

  test('is named, not doubled, by a second up', async () => {
    const { stdout } = await ops(['up', '--dir', broker.dir, '--json']);
    const status = await statusKafka({ dir: broker.dir });
    assert.equal(status.running && status.answers, true);
    assert.deepEqual(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''), {
      transport: broker.transport,
      pid: status.running && status.pid,
      dir: broker.dir,
    });
  });

  test('refuses to be moved to another port while it runs', async () => {
    const [port = 0] = await freePorts(1);
    await assert.rejects(upKafka({ dir: broker.dir, port }), { code: 'port-taken' });
  });

  test('keeps its records and its port through SIGKILL and another up', async () => {
    const { transport } = broker;
    broker.kill();
    await broker.restart();
    assert.equal(broker.transport, transport);
    await append(broker.transport, 'second');
    assert.deepEqual(await values(broker.transport, 2), ['first', 'second']);
  });

  test('moves to other ports with its records when somebody took its own', async () => {
    const state = JSON.parse(await readFile(join(broker.dir, 'broker.json'), 'utf8'));
    assert.equal((await ops(['down', '--dir', broker.dir])).code, 0);
    const squatters: Server[] = [];
    for (const port of [state.port, state.controllerPort]) {
      const server = createServer((socket) => socket.destroy());
      await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
      squatters.push(server);
    }
    try {
      assert.equal((await statusKafka({ dir: broker.dir })).running, false);
      await broker.restart();
      assert.notEqual(broker.transport, `kafka://127.0.0.1:${state.port}`);
      assert.deepEqual(await values(broker.transport, 2), ['first', 'second']);
    } finally {
      for (const server of squatters) server.close();
    }
  });

  test('is down after down, which by itself is no failure when nothing runs', async () => {
    assert.match((await ops(['down', '--dir', broker.dir])).stdout, /^stopped\n$/);
    assert.match((await ops(['status', '--dir', broker.dir])).stdout, /^no broker runs in /);
    const again = await ops(['down', '--dir', broker.dir, '--json']);
    assert.deepEqual([again.code, JSON.parse(again.stdout)], [0, { stopped: false, killed: false }]);
  });

  test('is not taken for another process that got its pid', async () => {
    const file = join(broker.dir, 'broker.json');
    const state = JSON.parse(await readFile(file, 'utf8'));
    await writeFile(file, JSON.stringify({ ...state, pid: process.pid }));
    assert.deepEqual(await statusKafka({ dir: broker.dir }), { running: false });
    assert.deepEqual(JSON.parse((await ops(['down', '--dir', broker.dir, '--json'])).stdout), {
      stopped: false,
      killed: false,
    });
  });

  test('that cannot start says so with the last error of its log, and leaves nothing running', async () => {
    await appendFile(join(broker.dir, 'data', 'meta.properties'), 'version=7\n');
    await assert.rejects(upKafka({ dir: broker.dir }), {
      code: 'kafka-start',
      received: /^the broker ended: .*meta\.properties/,
    });
    assert.equal((await statusKafka({ dir: broker.dir })).running, false);
  });
});

suite('without', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'medium-recipe-without-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test('Java, up ends with one line that says what to install', async () => {
    const { code, stderr } = await ops(['up', '--dir', join(folder, 'a')], { PATH: folder, HOME: folder });
    assert.equal(code, 1);
    assert.match(stderr, /^error java-missing: no java on PATH; expected Java 17 .*; install [^\n]*\n$/);
  });

  test('Maven and without Kafka in the cache, up names Maven', requirement('kafka'), async () => {
    const bin = join(folder, 'bin');
    await mkdir(bin);
    await symlink(which('java') ?? '', join(bin, 'java'));
    const { code, stderr } = await ops(['up', '--dir', join(folder, 'b')], { PATH: bin, HOME: folder });
    assert.equal(code, 1);
    assert.match(stderr, /\nerror maven-missing: [^\n]*\n$|^error maven-missing: [^\n]*\n$/);
  });

  test('a valid port, up is wrong usage', async () => {
    const { code, stderr } = await ops(['up', '--port', '70000']);
    assert.equal(code, 2);
    assert.match(stderr, /--port/);
  });
});

suite('the jars', requirement('kafka'), () => {
  test('in the cache are the pinned ones, and a changed, missing or foreign one is named', async () => {
    assert.equal(await difference(jarFolder()), null);
    const folder = await mkdtemp(join(tmpdir(), 'medium-recipe-jars-'));
    try {
      await cp(jarFolder(), folder, { recursive: true });
      const [first = '', second = ''] = pinnedJars().keys();
      await writeFile(join(folder, 'foreign.jar'), '');
      assert.equal(await difference(folder), 'foreign.jar does not belong there');
      await rm(join(folder, 'foreign.jar'));
      await rm(join(folder, second));
      assert.equal(await difference(folder), `${second} is missing`);
      await appendFile(join(folder, first), '.');
      assert.equal(await difference(folder), `${first} has another sha256 than the pinned one`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('and the project file name the same Kafka', () => {
    const pom = readFileSync(fileURLToPath(new URL('ops/kafka/pom.xml', packageRoot)), 'utf8');
    const version = /<artifactId>kafka_2\.13<\/artifactId>\s*<version>([^<]+)</.exec(pom)?.[1];
    assert.ok(pinnedJars().has(`kafka_2.13-${version}.jar`));
    assert.equal(jarFolder().endsWith(`kafka-${version}`), true);
  });
});

test('the settings bind 127.0.0.1 only', () => {
  const listeners = serverProperties({ port: 1, controllerPort: 2 }, '/data')
    .split('\n')
    .filter((line) => /listeners=|servers=/.test(line));
  assert.equal(listeners.length, 3);
  for (const line of listeners) assert.match(line, /^[a-z.]+=(([A-Z]+:\/\/)?127\.0\.0\.1:\d,?)+$/);
});
