// One bit of a stored record is another: it is named with the remedy, and what the remedy says makes the stream whole again.

import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { downKafka } from '#ops';
import { Draws, Fault } from '#shards';
import { openTransport } from '../../stream/transport/index.ts';
import { startBroker, type TestBroker } from '../broker.ts';
import { run } from '../commands.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { type Delivered, delivered, ledgerOf } from './delivered.ts';
import { pick } from './length.ts';

const RUN = 'flipped';
const RECIPE = `
name: flipped
lanes: 2
phases:
  - { resolution: 64, epochs: 1, batch: 8 }
optimizer: { lr: 0.05, weightDecay: 0 }
`;
/** Nothing here waits: a reader that does has met a damage that it does not see. */
const PATIENCE_MS = 60_000;

let shards: string;
let recipe: string;
/** A whole run's folder, to be copied. */
let whole: string;
let expected: { readonly hashes: Delivered['hashes']; readonly ledger: readonly string[] };

async function produce(transport: string, fromStep?: number): Promise<void> {
  const args = ['produce', '--run', RUN, '--transport', transport, '--shards', shards, '--recipe', recipe];
  const again = fromStep === undefined ? [] : ['--from-step', String(fromStep)];
  const { code, stderr } = await run('stream', [...args, '--workers', '1', ...again]);
  assert.equal(code, 0, stderr);
}

async function read(url: string): Promise<{ hashes: Delivered['hashes']; ledger: string[] }> {
  const transport = await openTransport(url, { create: false });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the reader waits')), PATIENCE_MS);
  });
  try {
    const { hashes } = await Promise.race([delivered(transport, RUN), late]);
    return { hashes, ledger: await ledgerOf(transport, RUN) };
  } finally {
    clearTimeout(timer);
    await transport.close();
  }
}

/** What the reader says of a damage: a Fault, or null where everything that is read is as it should be. */
async function complaint(url: string): Promise<Fault | null> {
  try {
    assert.deepEqual((await read(url)).hashes, expected.hashes, 'no Fault, and other bytes');
    return null;
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
}

/** Which step the remedy says is to be made again; null for another remedy. */
function stepToRegenerate({ remedy }: Fault): number | null {
  const [, step] = /--from-step (\d+)/.exec(remedy) ?? [];
  return step === undefined ? null : Number(step);
}

/** Regenerates as often as the reader says so. */
async function regenerates(url: string): Promise<void> {
  for (let fault = await complaint(url), last = -1; fault; fault = await complaint(url)) {
    const step = stepToRegenerate(fault);
    assert.ok(step !== null && step > last, `${fault.message}, after step ${last} was made again`);
    await produce(url, step);
    last = step;
  }
  const { ledger } = await read(url);
  assert.deepEqual([...new Set(ledger)], expected.ledger);
}

function copied(): string {
  const log = join(temporaryFolder(), 'log');
  cpSync(whole, log, { recursive: true });
  return log;
}

/** `count` numbers below n, drawn by a seed. */
function drawn(count: number, n: number, purpose: string): number[] {
  const draws = new Draws({ seed: 5, purpose });
  return Array.from({ length: count }, () => draws.below(n));
}

/** Flips a bit at each of these places of a file; where an array is given, in all copies that LMDB's pages hold. */
function flip(path: string, places: readonly number[], bit: number): void {
  const bytes = readFileSync(path);
  for (const at of places) bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << bit), at);
  writeFileSync(path, bytes);
}

function placesOf(bytes: Buffer, text: string): number[] {
  const places: number[] = [];
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) places.push(at);
  return places;
}

before(async () => {
  shards = await packPhotos('64:80');
  recipe = join(temporaryFolder(), 'flipped.yaml');
  await writeFile(recipe, RECIPE);
  whole = join(temporaryFolder(), 'log');
  await produce(`log:${whole}`);
  expected = await read(`log:${whole}`);
});

function onlySegment(log: string): string {
  const [name, ...others] = readdirSync(join(log, 'segments'));
  assert.ok(name && others.length === 0);
  return join(log, 'segments', name);
}

describe('a flipped byte in a stored record', () => {
  it('anywhere in a record of the embedded log is named with the step', async () => {
    const log = copied();
    const segment = onlySegment(log);
    const bytes = readFileSync(segment);
    // Headers are a hundredth of the file and have the most ways to be wrong.
    const [header = 0] = placesOf(bytes, '"split":"train","epoch":"0","step":"6"').slice(-1);
    assert.ok(header > 0);
    const begin = bytes.lastIndexOf('{"__metadata__"', header) - 8;
    const places = [
      ...drawn(pick(10, 200), bytes.length, 'anywhere'),
      ...drawn(pick(25, 800), 8 + Number(bytes.readBigUInt64LE(begin)), 'header').map((at) => begin + at),
    ];
    let last: Fault | null = null;
    for (const [i, at] of places.entries()) {
      flip(segment, [at], i % 8);
      const fault = await complaint(`log:${log}`);
      assert.ok(fault, `byte ${at}, bit ${i % 8}: nothing was said`);
      const inVal = /\.val\./.test(fault.received);
      assert.ok(inVal ? /another --run/.test(fault.remedy) : stepToRegenerate(fault) !== null, fault.message);
      last = fault;
      if (i < places.length - 1) flip(segment, [at], i % 8);
    }
    assert.equal(last && stepToRegenerate(last), 6);
    await regenerates(`log:${log}`);
  });

  it('in a ledger record is told, or says nothing that is read', async () => {
    const log = copied();
    const data = join(log, 'data.mdb');
    const bytes = readFileSync(data);
    const topic = `"topic":"${RUN}.train.64"}`;
    const [end = 0] = placesOf(bytes, `"step":4,${topic}`);
    assert.ok(end > 0);
    const text = bytes.toString('latin1', bytes.lastIndexOf('{', end), end + `"step":4,${topic}`.length);
    const copies = placesOf(bytes, text);
    const codes = new Set<string>();
    for (const [i, at] of drawn(pick(25, 600), text.length, 'ledger').entries()) {
      const places = copies.map((copy) => copy + at);
      flip(data, places, i % 8);
      const fault = await complaint(`log:${log}`);
      codes.add(fault?.code ?? 'nothing');
      // The fingerprint is told of, not compared; `bytes` and `epoch` are not read.
      const unread = /"(fingerprint|bytes|epoch|end|offset)":"?[^,"]*$/.test(text.slice(0, at + 1));
      assert.ok(fault || unread, `${text} at ${at}, bit ${i % 8}: nothing was said`);
      flip(data, places, i % 8);
    }
    assert.ok(codes.has('ledger-damaged') && codes.has('digest-mismatch'), [...codes].join());
    assert.equal(await complaint(`log:${log}`), null, 'as it was');
  });

  it('in the meta record is told', async () => {
    const log = copied();
    const data = join(log, 'data.mdb');
    const bytes = readFileSync(data);
    const [begin = 0, ...others] = placesOf(bytes, '{"dataset":{"classes"');
    assert.ok(begin > 0 && others.length === 0);
    const end = bytes.indexOf('"}', bytes.indexOf('"trainHash"', begin)) + 2;
    // The classes' names stand in no hash.
    const classes = bytes.indexOf('"counts"', begin);
    for (const [i, offset] of drawn(pick(25, 400), end - classes, 'meta').entries()) {
      const at = classes + offset;
      flip(data, [at], i % 8);
      const fault = await complaint(`log:${log}`);
      const said =
        fault !== null || /"(fingerprint|name|checkpointSteps)":[^,}]*$/.test(bytes.toString('latin1', begin, at + 1));
      assert.ok(said, `${bytes.toString('latin1', at - 40, at + 10)}, bit ${i % 8}: nothing was said`);
      flip(data, [at], i % 8);
    }
    assert.equal(await complaint(`log:${log}`), null, 'as it was');
  });

  describe('Kafka', requirement('kafka'), () => {
    let broker: TestBroker;
    before(async () => {
      broker = await startBroker();
      await produce(broker.transport);
      assert.equal(await complaint(broker.transport), null);
    });
    after(() => broker.stop());

    /** In the pixels of lane 0's step, in the broker's own file, while it is down. */
    function damage(step: number): void {
      const file = join(broker.dir, 'data', `${RUN}.train.64-0`, `${'0'.repeat(20)}.log`);
      const bytes = readFileSync(file);
      const found = placesOf(bytes, `"split":"train","epoch":"0","step":"${step}"`);
      assert.ok(found.length > 0);
      flip(
        file,
        found.map((at) => at + 20_000),
        3,
      );
    }

    it('is named by the digest where the broker was stopped, and made again', async () => {
      await downKafka({ dir: broker.dir });
      damage(4);
      await broker.restart();
      const fault = await complaint(broker.transport);
      assert.equal(fault && stepToRegenerate(fault), 4);
      await regenerates(broker.transport);
    });

    if (pick(true, false)) return;

    it('is named where the broker was killed and cuts its log off at the damage, and made again', async () => {
      broker.kill();
      damage(7);
      await broker.restart();
      const fault = await complaint(broker.transport);
      assert.ok(fault);
      await regenerates(broker.transport);
    });
  });
});
