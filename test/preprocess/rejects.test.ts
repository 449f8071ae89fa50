import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { crc32 } from '@node-rs/crc32';
import { Fault } from '#shards';
import { temporaryFolder } from '../shards/dataset.ts';
import { jpeg, packed, photos, picture, treeOf } from './photos.ts';

/** A PNG that claims a size and holds no pixels. */
function pngOf(width: number, height: number): Buffer {
  const chunk = (type: string, data: Uint8Array): Buffer => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const framed = Buffer.alloc(8 + body.length);
    framed.writeUInt32BE(data.length, 0);
    framed.set(body, 4);
    framed.writeUInt32BE(crc32(body), 4 + body.length);
    return framed;
  };
  const header = Buffer.from('00000000000000000802000000', 'hex');
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  const none = new Uint8Array();
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(none)), chunk('IEND', none)]);
}

/** Every way in which one file can be bad, with what is said of it. */
async function badFiles(): Promise<readonly (readonly [path: string, data: Uint8Array, code: string, says: string])[]> {
  const whole = await jpeg(80, 60);
  const png = await picture(80, 60).png().toBuffer();
  const headless = Buffer.from(png);
  headless.fill(0, 30, headless.length - 12);
  return [
    ['train/cat/text.JPEG', Buffer.from('I am text, not a photo'), 'not-an-image', 'text'],
    ['train/cat/page.JPEG', Buffer.from('<!doctype html><h1>404'), 'not-an-image', 'HTML'],
    ['train/cat/half.JPEG', whole.subarray(0, whole.length >> 1), 'truncated', 'ends before'],
    ['train/cat/head.JPEG', whole.subarray(0, 30), 'truncated', 'ends before'],
    ['train/dog/half.png', png.subarray(0, png.length >> 1), 'truncated', 'ends before'],
    ['train/dog/broken.png', headless, 'damaged', 'cannot be decoded'],
    ['train/dog/zero.JPEG', new Uint8Array(), 'empty-file', 'no bytes'],
    ['train/dog/bitmap.JPEG', Buffer.from('BM\x46\0\0\0'), 'unsupported', 'BMP'],
    ['train/dog/bomb.png', pngOf(20_000, 20_000), 'too-large', '20000 × 20000'],
  ];
}

test('each bad file alone ends the run with its reason and leaves nothing behind', async (t) => {
  const good = {
    'train/cat/a.jpg': await jpeg(60, 50),
    'train/dog/a.jpg': await jpeg(50, 60),
    'val/cat/a.jpg': await jpeg(60, 60),
  };
  for (const [path, data, code, says] of await badFiles()) {
    const dir = await temporaryFolder(t);
    await assert.rejects(
      packed(t, { ...good, [path]: data }, { out: join(dir, 'new/out') }),
      (error) =>
        error instanceof Fault &&
        error.code === code &&
        error.received.includes(path) &&
        error.received.includes(says) &&
        error.remedy.includes('--on-error skip'),
      path,
    );
    assert.deepEqual(await readdir(dir), [], path);
  }
});

test('with skip every bad file is listed with its reason, counted, and the rest packed', async (t) => {
  const bad = await badFiles();
  const files = { ...(await photos()), ...Object.fromEntries(bad.map(([path, data]) => [path, data])) };
  const { out, manifest } = await packed(t, files, { onError: 'skip', maxRejects: 1, workers: 2 });
  assert.deepEqual(manifest.dataset.counts, { train: 10, val: 3 });
  assert.equal(manifest.splits.train.positions, 10 + bad.length);
  const { sha256, ...counted } = manifest.rejects;
  assert.deepEqual(counted, {
    count: bad.length,
    byCode: { 'not-an-image': 2, truncated: 3, damaged: 1, 'empty-file': 1, unsupported: 1, 'too-large': 1 },
  });
  const text = await readFile(join(out, 'rejects.jsonl'), 'utf8');
  assert.equal(createHash('sha256').update(text).digest('hex'), sha256);
  const lines = text.trimEnd().split('\n');
  const listed = lines.map(
    (line) => JSON.parse(line) as { source: string; code: string; reason: string; position: number },
  );
  for (const [path, , code, says] of bad) {
    const reject = listed.find(({ source }) => source === path);
    assert.equal(reject?.code, code, path);
    assert.ok(reject?.reason.includes(says), reject?.reason);
  }
  const positions = listed.map(({ position }) => position);
  assert.deepEqual(
    positions,
    [...positions].sort((a, b) => a - b),
  );
});

test('of several bad files the one of the lowest position is named, whatever the workers', async (t) => {
  const bad = await badFiles();
  const files = { ...(await photos()), ...Object.fromEntries(bad.map(([path, data]) => [path, data])) };
  const named = [];
  for (const workers of [1, 2])
    named.push(
      await packed(t, files, { workers }).then(String, (error: Fault) => error.received.replace(/^.*source/, '')),
    );
  assert.match(named[0] ?? '', /^\/train\//);
  assert.equal(named[0], named[1]);
});

test('one reject is always allowed with skip; more than the share ends the run, and --resume with a larger share goes on', async (t) => {
  const bad = await badFiles();
  const few = (count: number) => Object.fromEntries(bad.slice(0, count).map(([path, data]) => [path, data]));
  const one = await packed(t, { ...(await photos()), ...few(1) }, { onError: 'skip' });
  assert.equal(one.manifest.rejects.count, 1);
  const dir = await temporaryFolder(t);
  const files = { ...(await photos()), ...few(4) };
  const into = (out: string, options: object) => packed(t, files, { out: join(dir, out), onError: 'skip', ...options });
  await assert.rejects(
    into('out', { maxRejects: 0.2 }),
    (error) => error instanceof Fault && error.code === 'too-many-rejects' && error.received.startsWith('more than 3 '),
  );
  const { out } = await into('out', { maxRejects: 0.3, resume: true });
  const straight = await into('straight', { maxRejects: 1 });
  assert.deepEqual(await treeOf(out), await treeOf(straight.out));
});

test('a split of which nothing can be packed is refused even with skip', async (t) => {
  const dir = await temporaryFolder(t);
  const files = { 'train/a/1.jpg': 'text', 'val/a/1.jpg': 'text' };
  await assert.rejects(
    packed(t, files, { onError: 'skip', maxRejects: 1, out: join(dir, 'out') }),
    (error) => error instanceof Fault && error.code === 'nothing-packed',
  );
  assert.deepEqual(await readdir(dir), []);
});
