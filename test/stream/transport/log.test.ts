// The embedded log beyond the contract: crashes at any moment, disk space, the backstop, and what is not a log.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { open as openLmdb } from 'lmdb';
import { Fault } from '#shards';
import { openTransport } from '../../../stream/transport/index.ts';

const CHILD = fileURLToPath(new URL('log-process.js', import.meta.url));
const MB = 1_000_000;

let directory = '';
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'medium-recipe-log-'));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await rm(directory, { recursive: true, force: true });
});

const isFault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;

async function open(at = directory) {
  const log = await openTransport(`log:${at}`);
  cleanups.push(() => log.close());
  return log;
}

/** Paths of the files that hold large values. */
const segments = async (): Promise<string[]> =>
  (await readdir(join(directory, 'segments'))).map((name) => join(directory, 'segments', name));

function start(action: 'churn' | 'hold') {
  const child = spawn(process.execPath, [CHILD, action, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanups.push(() => child.kill('SIGKILL'));
  return child;
}

test('a writer that is killed at any moment leaves a log that holds what it acknowledged and goes on', async () => {
  const log = await open();
  await log.createTopics([{ name: 't', partitions: 1, retention: 'forever', maxRecordBytes: MB }]);
  let last = { at: -1, byte: 0 };
  for (const lines of [1, 7, 23, 40, 64]) {
    const child = start('churn');
    const ended = once(child, 'exit');
    let seen = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      const [at = 0, byte = 0] = line.split(' ').map(Number);
      assert.ok(at > last.at, 'offsets rise over restarts');
      last = { at, byte };
      if (++seen === lines) child.kill('SIGKILL');
    }
    await ended;
    const [extent = { begin: 0, end: 0 }] = await log.ends('t');
    assert.ok(extent.end === last.at + 1 || extent.end === last.at + 2, 'at most one more than was acknowledged');
    const reader = await log.read({ topic: 't', from: new Map([[0, extent.begin]]), maxBytes: MB });
    for (let offset = extent.begin; offset < extent.end; offset++) {
      const record = await reader.next(0);
      assert.ok(record !== null && record.value.length === 30_000);
      assert.equal(record.offset, offset, 'no gap');
      if (offset === last.at) assert.equal(record.value[29_999], last.byte);
    }
    await reader.close();
    last = { at: await log.append('t', 0, Buffer.alloc(30_000)), byte: 0 };
  }
});

test('appending and deleting ten times what is kept leaves files of a size for what is kept', async () => {
  const log = await open();
  await log.createTopics([{ name: 't', partitions: 2, retention: 'forever', maxRecordBytes: MB }]);
  const keep = 10;
  for (let i = 0; i < 10 * keep; i++) {
    for (const partition of [0, 1]) {
      // Sizes differ, as records' do: freed runs of pages must still be found again.
      const at = await log.append('t', partition, Buffer.alloc(MB - ((i * 7919) % 300_000), i));
      await log.deleteBefore('t', partition, at - keep + 1);
    }
  }
  const sizes = await Promise.all((await segments()).map(async (name) => (await stat(name)).size));
  const size = sizes.reduce((sum, bytes) => sum + bytes, (await stat(join(directory, 'data.mdb'))).size);
  // One segment that is half dead and one that is written to, 33 MB each.
  assert.ok(size < 2 * keep * MB + 2 * 36 * MB, `${size} bytes for ${2 * keep} MB`);
  assert.deepEqual(await log.ends('t'), [
    { begin: 90, end: 100 },
    { begin: 90, end: 100 },
  ]);
});

test('a reader that was killed does not keep deleted pages for ever', async () => {
  const log = await open();
  await log.createTopics([{ name: 't', partitions: 1, retention: 'forever', maxRecordBytes: MB }]);
  // So small that they lie in LMDB's pages.
  await log.append('t', 0, Buffer.alloc(16_000));
  const child = start('hold');
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  for (let i = 0; i < 400; i++) await log.deleteBefore('t', 0, await log.append('t', 0, Buffer.alloc(16_000, i)));
  assert.equal(log.counters['staleReaders'], 1, 'and it is counted');
  const { size } = await stat(join(directory, 'data.mdb'));
  // Two of them are LMDB's room ahead.
  assert.ok(size < 4 * MB, `${size} bytes`);
});

test('a writer whose segment another process removed with its last record writes its next ones anew', async () => {
  const [writer, other] = [await open(), await open()];
  await writer.createTopics([{ name: 't', partitions: 2, retention: 'forever', maxRecordBytes: MB }]);
  await writer.append('t', 0, Buffer.alloc(MB, 1));
  const reader = await writer.read({ topic: 't', from: new Map([[0, 0]]), maxBytes: MB });
  for (const round of [1, 2]) {
    await other.deleteBefore('t', 0, round);
    assert.deepEqual(await segments(), [], 'with its last record the file goes');
    const appends = [0, 1].map((partition) => writer.append('t', partition, Buffer.alloc(MB, 2 + round)));
    await Promise.all([...appends, writer.append('t', 0, Buffer.from('small'))]);
    await other.deleteBefore('t', 1, round);
    const record = await reader.next(0);
    assert.deepEqual([record?.offset, record?.value.equals(Buffer.alloc(MB, 2 + round))], [2 * round - 1, true]);
    assert.equal((await reader.next(0))?.value.toString(), 'small');
    await other.deleteBefore('t', 0, 2 * round);
  }
});

test('what killed writers left in the folder of segments goes with the next opening, and no more', async () => {
  const log = await open();
  await log.createTopics([{ name: 't', partitions: 1, retention: 'forever', maxRecordBytes: MB }]);
  await log.append('t', 0, Buffer.alloc(MB, 7));
  const kept = await segments();
  assert.equal(kept.length, 1);
  await writeFile(join(directory, 'segments', '999'), 'no row knows it');
  const again = await open();
  assert.deepEqual(await segments(), kept);
  const reader = await again.read({ topic: 't', from: new Map([[0, 0]]), maxBytes: MB });
  assert.ok((await reader.next(0))?.value.equals(Buffer.alloc(MB, 7)));
});

test('a record whose bytes are cut short or gone with their segment is a Fault, and the next one can be read', async () => {
  const log = await open();
  await log.createTopics([{ name: 't', partitions: 1, retention: 'forever', maxRecordBytes: MB }]);
  await log.append('t', 0, Buffer.alloc(MB, 7));
  await log.append('t', 0, Buffer.from('small'));
  const [file = ''] = await segments();
  const readBoth = async () => {
    const reader = await (await open()).read({ topic: 't', from: new Map([[0, 0]]), maxBytes: MB });
    await assert.rejects(reader.next(0), isFault('record-lost'));
    assert.equal((await reader.next(0))?.value.toString(), 'small');
  };
  await truncate(file, 1000);
  await readBoth();
  await rm(file);
  await readBoth();
});

test('the memory of released values is used again, and of no other', async () => {
  const log = await open();
  await log.createTopics([{ name: 't', partitions: 1, retention: 'forever', maxRecordBytes: MB }]);
  for (let i = 0; i < 4; i++) await log.append('t', 0, Buffer.alloc(MB - i, i));
  const reader = await log.read({ topic: 't', from: new Map([[0, 0]]), maxBytes: MB });
  const [first, second] = [await reader.next(0), await reader.next(0)];
  assert.ok(first && second);
  for (const _ of [1, 2]) reader.release(second);
  const [third, fourth] = [await reader.next(0), await reader.next(0)];
  assert.ok(third && fourth);
  assert.equal(third.value.buffer, second.value.buffer);
  assert.notEqual(fourth.value.buffer, second.value.buffer, 'released twice, used once');
  assert.ok(first.value.equals(Buffer.alloc(MB, 0)) && third.value.equals(Buffer.alloc(MB - 2, 2)));
});

test('beyond its size backstop a partition drops the oldest, counted', async () => {
  const log = await open();
  await log.createTopics([{ name: 't', partitions: 2, retention: { maxBytes: 100_000 }, maxRecordBytes: MB }]);
  for (let i = 0; i < 12; i++) await log.append('t', 0, Buffer.alloc(30_000, i));
  assert.deepEqual(await log.ends('t'), [
    { begin: 9, end: 12 },
    { begin: 0, end: 0 },
  ]);
  assert.equal(log.counters['backstopDropped'], 9);
  await log.append('t', 0, Buffer.alloc(200_000));
  assert.deepEqual((await log.ends('t'))[0], { begin: 12, end: 13 }, 'the newest stays, however large');
});

test('a topic asked for with a higher backstop gets it, and with a lower one keeps its own', async () => {
  const log = await open();
  const spec = (records: number) => ({
    name: 't',
    partitions: 1,
    retention: { maxBytes: records * 1000 },
    maxRecordBytes: 1000,
  });
  for (const records of [2, 6, 3]) await log.createTopics([spec(records)]);
  for (let i = 0; i < 10; i++) await log.append('t', 0, Buffer.alloc(1000, i));
  assert.deepEqual(await log.ends('t'), [{ begin: 4, end: 10 }]);
});

test('a log that is not there is made only where that is wanted', async () => {
  const missing = join(directory, 'typo');
  await assert.rejects(openTransport(`log:${missing}`, { create: false }), isFault('log-missing'));
  assert.ok(!existsSync(missing));
  await open(missing);
  cleanups.push(await openTransport(`log:${missing}`, { create: false }).then((log) => () => log.close()));
});

test('a compacted topic keeps one record a key, and none of a deleted one', async () => {
  const log = await open();
  await log.createTopics([{ name: 't', partitions: 1, retention: 'compact', maxRecordBytes: 1000 }]);
  for (let i = 0; i < 100; i++) await log.append('t', 0, Buffer.from([i]), `key-${i % 3}`);
  const reader = await log.read({ topic: 't', from: new Map([[0, 0]]), maxBytes: 1000 });
  assert.deepEqual(
    [await reader.next(0), await reader.next(0), await reader.next(0)].map((record) => record?.offset),
    [97, 98, 99],
  );
  await log.deleteBefore('t', 0, 99);
  assert.equal(await log.append('t', 0, Buffer.from('again'), 'key-1'), 100);
  reader.seek(0, 0);
  assert.deepEqual(
    [await reader.next(0), await reader.next(0)].map((record) => record?.offset),
    [99, 100],
  );
});

test('a reader of a topic that is deleted ends with a Fault', async () => {
  const log = await open();
  await log.createTopics([{ name: 't', partitions: 1, retention: 'forever', maxRecordBytes: 1000 }]);
  const reader = await log.read({ topic: 't', from: new Map([[0, 0]]), maxBytes: 1000 });
  const waiting = assert.rejects(reader.next(0), isFault('unknown-topic'));
  await log.deleteTopics(['t']);
  await waiting;
});

test('what is not a log is refused and left as it was', async () => {
  const file = join(directory, 'photo.jpg');
  await writeFile(file, 'a photo');
  await assert.rejects(openTransport(`log:${file}`), isFault('not-a-log'));
  await assert.rejects(openTransport(`log:${file}/below`), isFault('not-a-log'));
  await assert.rejects(openTransport(`log:${directory}`), isFault('not-a-log'));
  assert.deepEqual(await readdir(directory), ['photo.jpg']);
  assert.equal(await readFile(file, 'utf8'), 'a photo');
});

test('a data file that is no LMDB file is refused', async () => {
  await writeFile(join(directory, 'data.mdb'), randomBytes(100_000));
  await assert.rejects(openTransport(`log:${directory}`), isFault('not-a-log'));
});

test('an LMDB environment of something else is refused and gets no tables', async () => {
  const foreign = openLmdb<string, string>({ path: directory, noSubdir: false });
  await foreign.openDB<string, string>({ name: 'photos' }).put('key', 'value');
  await foreign.close();
  await assert.rejects(openTransport(`log:${directory}`), isFault('not-a-log'));
  const again = openLmdb<string, string>({ path: directory, noSubdir: false });
  assert.deepEqual([...again.getKeys()], ['photos']);
  await again.close();
});

test('a folder that cannot be made is a Fault', { skip: !existsSync('/sys') && 'no /sys here' }, async () => {
  await assert.rejects(openTransport('log:/sys/medium-recipe/log'), isFault('log-unusable'));
});

test('another URL is wrong usage, and a password in it is not repeated', async () => {
  for (const url of ['', 'log:', 'logs', 'http://user:secret@host/', 'kafka://user:secret@host:9092', 'kafka://host']) {
    await assert.rejects(openTransport(url), (error: unknown) => {
      assert.ok(error instanceof Fault && error.code === 'bad-transport' && error.exit === 2);
      assert.ok(!error.message.includes('secret'));
      return true;
    });
  }
});
