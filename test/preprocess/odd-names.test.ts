// Odd names, and things that only look like photos: each is packed under its own name, or listed as unreadable.

import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { extract } from 'tar-stream';
import { PACK_DEFAULTS, pack, REJECTS_FILE, type Reject } from '#preprocess';
import { type Manifest, parseBuckets } from '#shards';
import { temporaryFolder } from '../shards/dataset.ts';
import { jpeg, photos, writeFiles } from './photos.ts';

/** In UTF-8 each of at most 255 bytes, which is what file systems take. */
const NAMES = [
  'with blanks .JPEG',
  ' leading blank.JPEG',
  '-rf.JPEG',
  '--help',
  'no suffix',
  'two.dots.in.JPEG',
  '__meta.JPEG',
  'quotes\'"`.JPEG',
  'back\\slash.JPEG',
  'percent%2e%00.JPEG',
  'line\nfeed.JPEG',
  'carriage\rreturn.JPEG',
  'tab\tulator.JPEG',
  'bell\u0007escape\u001b[31m.JPEG',
  'zw\u00f6lf.JPEG',
  'zwo\u0308lf in two code points.JPEG',
  '\u65e5\u672c\u8a9e.JPEG',
  '\u{1f408}.JPEG',
  'right\u202eto left.JPEG',
  `${'n'.repeat(250)}.JPEG`,
  `${'\u65e5'.repeat(83)}.JPEG`,
] as const;

interface Result {
  readonly manifest: Manifest;
  readonly rejects: readonly Reject[];
  /** What the samples of train say of their source. */
  readonly sources: readonly string[];
}

async function packFolder(t: TestContext, source: string): Promise<Result> {
  const out = join(await temporaryFolder(t), 'out');
  const options = { ...PACK_DEFAULTS, onError: 'skip', maxRejects: 1, workers: 1 } as const;
  const manifest = await pack({ ...options, source, out, buckets: parseBuckets('16:20') });
  const lines = (await readFile(join(out, REJECTS_FILE), 'utf8')).split('\n').filter((line) => line !== '');
  const sources: string[] = [];
  for (const { file } of manifest.splits.train.buckets['16']?.shards ?? []) {
    const members = extract();
    members.end(await readFile(join(out, file)));
    for await (const member of members) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of member) chunks.push(chunk as Uint8Array);
      if (member.header.name.endsWith('.json')) sources.push(JSON.parse(Buffer.concat(chunks).toString()).source);
    }
  }
  return { manifest, rejects: lines.map((line): Reject => JSON.parse(line)), sources };
}

test('photos of any name are packed, and a sample says the name as it was', async (t) => {
  const names = process.platform === 'win32' ? NAMES.filter((name) => /^[\w .-]+$/.test(name)) : NAMES;
  const files: Record<string, Buffer> = await photos();
  for (const [i, name] of names.entries()) files[`train/cat/${name}`] = await jpeg(40, 40, i);
  const { manifest, rejects, sources } = await packFolder(t, await writeFiles(await temporaryFolder(t), files));
  assert.deepEqual(rejects, []);
  const expected = Object.keys(files).filter((path) => path.startsWith('train/'));
  assert.deepEqual([...sources].sort(), expected.sort());
  assert.equal(manifest.splits.train.positions, expected.length);
});

test('text under an odd name is listed with the name as it was', async (t) => {
  const files = { ...(await photos()), ...Object.fromEntries(NAMES.map((name) => [`train/dog/${name}`, 'text'])) };
  const { rejects } = await packFolder(t, await writeFiles(await temporaryFolder(t), files));
  assert.deepEqual(rejects.map(({ source }) => source).sort(), NAMES.map((name) => `train/dog/${name}`).sort());
  for (const { code } of rejects) assert.equal(code, 'not-an-image');
});

test('a folder named like a photo is a folder: what is in it belongs to the class', async (t) => {
  const dir = await writeFiles(await temporaryFolder(t), {
    ...(await photos()),
    'train/cat/folder.JPEG/inner.JPEG': await jpeg(40, 40),
  });
  await mkdir(join(dir, 'train/cat/empty.JPEG'));
  const { manifest, rejects, sources } = await packFolder(t, dir);
  assert.deepEqual(rejects, []);
  assert.equal(manifest.splits.train.positions, 11);
  assert.ok(sources.includes('train/cat/folder.JPEG/inner.JPEG'));
});

test('a link to a photo is one; a link to nothing and a circle of links are unreadable, and counted', async (t) => {
  const dir = await writeFiles(await temporaryFolder(t), {
    ...(await photos()),
    'elsewhere/a.JPEG': await jpeg(40, 40),
  });
  await symlink(join(dir, 'elsewhere/a.JPEG'), join(dir, 'train/cat/link.JPEG'));
  await symlink(join(dir, 'nowhere'), join(dir, 'train/cat/dangling.JPEG'));
  await symlink('circle.JPEG', join(dir, 'train/cat/circle.JPEG'));
  const { manifest, rejects, sources } = await packFolder(t, dir);
  assert.ok(sources.includes('train/cat/link.JPEG'));
  assert.deepEqual(rejects.map(({ source, code }) => `${source} ${code}`).sort(), [
    'train/cat/circle.JPEG unreadable',
    'train/cat/dangling.JPEG unreadable',
  ]);
  assert.equal(manifest.splits.train.positions, 13);
});

test('a photo that the system refuses to read is unreadable', {
  skip: process.getuid?.() === 0 ? 'root may read everything' : process.platform === 'win32' && 'Windows has no modes',
}, async (t) => {
  const dir = await writeFiles(await temporaryFolder(t), {
    ...(await photos()),
    'train/cat/secret.JPEG': await jpeg(40, 40),
  });
  await chmod(join(dir, 'train/cat/secret.JPEG'), 0);
  const { rejects } = await packFolder(t, dir);
  assert.deepEqual(
    rejects.map(({ source, code }) => [source, code]),
    [['train/cat/secret.JPEG', 'unreadable']],
  );
  assert.match(rejects[0]?.reason ?? '', /EACCES/);
});

test('a name that is no UTF-8 is unreadable rather than the end of the run', {
  skip: process.platform !== 'linux' && 'only Linux file systems take such names',
}, async (t) => {
  const dir = await writeFiles(await temporaryFolder(t), await photos());
  const name = Buffer.concat([Buffer.from(join(dir, 'train/cat/')), Buffer.from('6cff6c2e4a504547', 'hex')]);
  await writeFile(name, await jpeg(40, 40));
  const { manifest, rejects } = await packFolder(t, dir);
  assert.deepEqual(
    rejects.map(({ source, code }) => [source, code]),
    [['train/cat/l\ufffdl.JPEG', 'unreadable']],
  );
  assert.equal(manifest.splits.train.positions, 11);
});
