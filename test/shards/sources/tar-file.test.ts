import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { Pax } from 'tar/pax';
import { TarFile, type TarMember } from '../../../shards/sources/tar-file.ts';
import { temporaryFolder } from '../dataset.ts';
import { blocks, END, fault, headerBlock, tarOf } from './tars.ts';

async function tarFile(t: TestContext, data: Uint8Array): Promise<TarFile> {
  const path = join(await temporaryFolder(t), 'a.tar');
  await writeFile(path, data);
  const tar = new TarFile(path);
  t.after(() => tar.close());
  return tar;
}

/** Name and payload of each member. */
async function contents(tar: TarFile): Promise<[string, string][]> {
  const found: [string, string][] = [];
  for await (const member of tar.members()) found.push([member.name, tar.read(member).toString()]);
  return found;
}

async function membersOf(tar: TarFile): Promise<TarMember[]> {
  const found: TarMember[] = [];
  for await (const member of tar.members()) found.push(member);
  return found;
}

test('folders are left out, leading dots dropped, empty and large members placed right', async (t) => {
  const large = 'x'.repeat(10_000);
  const data = await tarOf([
    { name: './', type: 'directory' },
    { name: './a/', type: 'directory' },
    { name: './a/1.jpg', data: 'one' },
    { name: '/b.jpg', data: '' },
    { name: 'c.jpg', data: large },
    { name: '.hidden', data: 'kept: the caller decides' },
  ]);
  assert.deepEqual(await contents(await tarFile(t, data)), [
    ['a/1.jpg', 'one'],
    ['b.jpg', ''],
    ['c.jpg', large],
    ['.hidden', 'kept: the caller decides'],
  ]);
});

test('PAX records, as for float mtimes and long names, hold for the member that follows', async (t) => {
  const long = `${'folder/'.repeat(30)}photo.jpg`;
  const data = await tarOf([
    { name: 'a.jpg', data: 'a', pax: { mtime: '1700000000.1234567', comment: 'x=y' } },
    { name: long, data: 'b' },
    { name: 'é/😀.jpg', data: 'c' },
    { name: 'd.jpg', data: 'd' },
  ]);
  assert.deepEqual(await contents(await tarFile(t, data)), [
    ['a.jpg', 'a'],
    [long, 'b'],
    ['é/😀.jpg', 'c'],
    ['d.jpg', 'd'],
  ]);
});

test('a PAX path is whole: the prefix of the header that follows is not put before it', async (t) => {
  const prefixed = `${'p/'.repeat(60)}short.jpg`;
  const data = Buffer.concat([
    new Pax({ path: 'whole/name.jpg', size: 3 }).encode(),
    headerBlock({ path: prefixed, size: 0, type: 'File' }),
    blocks('abc'),
    headerBlock({ path: prefixed, size: 1, type: 'File' }),
    blocks('d'),
    END,
  ]);
  assert.deepEqual(await contents(await tarFile(t, data)), [
    ['whole/name.jpg', 'abc'],
    [prefixed, 'd'],
  ]);
});

test('GNU long names, global PAX headers and members of old tars are understood', async (t) => {
  // The header has the name's first 98 bytes, which end with '/' as a folder's would.
  const long = `${'d/'.repeat(60)}x.jpg`;
  const gnu = (name: string) => [
    headerBlock({ path: '././@LongLink', type: 'NextFileHasLongPath', size: name.length + 1 }),
    blocks(`${name}\0`),
  ];
  const old = headerBlock({ path: 'old.jpg', size: 1, type: 'OldFile' });
  const data = Buffer.concat([
    new Pax({ path: 'of no member', comment: 'global' }, true).encode(),
    ...gnu(long),
    headerBlock({ path: long.slice(0, 98), size: 2, type: 'File' }),
    blocks('ab'),
    old,
    blocks('c'),
    END,
  ]);
  assert.deepEqual(await contents(await tarFile(t, data)), [
    [long, 'ab'],
    ['old.jpg', 'c'],
  ]);
});

test('members above 8 GiB, whose size is in base 256, are skipped by seeking', async (t) => {
  const path = join(await temporaryFolder(t), 'sparse.tar');
  const bytes = 9 * 2 ** 30 + 1;
  const next = 512 + Math.ceil(bytes / 512) * 512;
  const file = await open(path, 'w');
  await file.write(headerBlock({ path: 'huge', size: bytes, type: 'File' }), 0, 512, 0);
  await file.write(headerBlock({ path: 'after', size: 0, type: 'File' }), 0, 512, next);
  await file.truncate(next + 1536);
  await file.close();
  const tar = new TarFile(path);
  t.after(() => tar.close());
  assert.deepEqual(await membersOf(tar), [
    { name: 'huge', header: 0, offset: 512, bytes },
    { name: 'after', header: next, offset: next + 512, bytes: 0 },
  ]);
});

test('a tar in a tar is walked in place, and its members are where they are said to be', async (t) => {
  const inner = await tarOf([
    { name: '1.jpg', data: 'one' },
    { name: '2.jpg', data: 'two' },
  ]);
  const tar = await tarFile(
    t,
    await tarOf([
      { name: 'first.tar', data: await tarOf([{ name: 'x', data: 'x' }]) },
      { name: 'n01.tar', data: inner },
    ]),
  );
  const [, second] = await membersOf(tar);
  const found: string[] = [];
  for await (const member of tar.members(second)) found.push(`${member.name} ${tar.read(member)}`);
  assert.deepEqual(found, ['1.jpg one', '2.jpg two']);
});

test('cut anywhere, a tar is refused with the byte; a cut inside the zeros at its end loses nothing', async (t) => {
  const dir = await temporaryFolder(t);
  const whole = await tarOf([
    { name: 'a.jpg', data: 'x'.repeat(700), pax: { mtime: '1.5' } },
    { name: 'b.jpg', data: 'y' },
  ]);
  const lastBlock = whole.length - 1024;
  let serial = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: whole.length }), async (length) => {
      const path = join(dir, `${serial++}.tar`);
      await writeFile(path, whole.subarray(0, length));
      const tar = new TarFile(path);
      try {
        if (length >= lastBlock + 512) assert.equal((await contents(tar)).length, 2);
        else await assert.rejects(contents(tar), fault('tar-truncated', path, 'at byte'));
      } finally {
        tar.close();
      }
    }),
    { examples: [[0], [whole.length], [lastBlock], [lastBlock + 511], [lastBlock + 512]] },
  );
});

test('a damaged header, data after the end, links and compressed tars are refused with the byte', async (t) => {
  const one = headerBlock({ path: '1.jpg', size: 1, type: 'File' });
  const damaged = Buffer.from(one);
  damaged[3] = 0x41;
  const bodies: [string, Buffer[], string, ...string[]][] = [
    ['a changed name', [one, blocks('a'), damaged, blocks('b'), END], 'tar-damaged', 'byte 1024', 'checksum'],
    ['a hole of zeros', [one, blocks('a'), END, one, blocks('b'), END], 'tar-damaged', 'byte 1536', 'after the end'],
    ['a long hole', [one, blocks('a'), Buffer.alloc(2 << 20)], 'tar-damaged', 'byte 1536', 'after the end'],
    ['gzip', [Buffer.from([0x1f, 0x8b]), Buffer.alloc(1022)], 'tar-damaged', 'byte 0', 'gzip'],
    ['no member after PAX', [new Pax({ path: 'x' }).encode(), END], 'tar-damaged', 'byte 1024'],
    [
      'an endless PAX header',
      [headerBlock({ path: 'x', type: 'ExtendedHeader', size: 2 << 20 }), Buffer.alloc(2 << 20), one, blocks('a'), END],
      'tar-damaged',
      'byte 0',
      'extended header',
    ],
    [
      'a link',
      [headerBlock({ path: '2.jpg', linkpath: '1.jpg', size: 0, type: 'Link' }), END],
      'tar-unsupported',
      '2.jpg of type Link',
    ],
  ];
  for (const [name, parts, code, ...texts] of bodies) {
    const tar = await tarFile(t, Buffer.concat(parts));
    await assert.rejects(contents(tar), fault(code, ...texts), name);
  }
});

test('a tar that cannot be opened is refused', async (t) => {
  const path = join(await temporaryFolder(t), 'none.tar');
  assert.throws(() => new TarFile(path), fault('source-unreadable', path, 'ENOENT'));
});
