import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import { BLOCK, type MemberPlace, TarWriter } from '#shards';
import { temporaryFolder } from './dataset.ts';

interface Written {
  readonly file: Buffer;
  readonly places: readonly MemberPlace[];
}

async function written(t: TestContext, members: readonly (readonly [string, Uint8Array])[]): Promise<Written> {
  const dir = await temporaryFolder(t);
  const path = join(dir, 'a.tar');
  const tar = await TarWriter.create(path);
  const places: MemberPlace[] = [];
  for (const [name, data] of members) places.push(await tar.append(name, data));
  const { bytes, sha256 } = await tar.finish();
  const file = await readFile(path);
  assert.equal(file.length, bytes);
  assert.equal(createHash('sha256').update(file).digest('hex'), sha256);
  return { file, places };
}

test('places point at the bytes, and another reader finds the same members', async (t) => {
  // 1 MiB and more passes the size at which the writer flushes.
  const member = fc.uint8Array({ maxLength: 1600 });
  const sizes = fc.constantFrom(0, 1, 511, 512, 513, 1_048_576, 1_048_577).map((size) => new Uint8Array(size).fill(7));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof({ weight: 6, arbitrary: member }, sizes), { maxLength: 8 }),
      async (payloads) => {
        const { file, places } = await written(
          t,
          payloads.map((data, i) => [`${i}.bin`, data]),
        );
        const seen: [string, Buffer][] = [];
        for await (const entry of Readable.from([file]).pipe(extract())) {
          const chunks: Buffer[] = [];
          for await (const chunk of entry) chunks.push(chunk as Buffer);
          seen.push([entry.header.name, Buffer.concat(chunks)]);
        }
        assert.deepEqual(
          seen,
          payloads.map((data, i) => [`${i}.bin`, Buffer.from(data)]),
        );
        for (const [i, { offset, bytes }] of places.entries())
          assert.deepEqual(file.subarray(offset, offset + bytes), Buffer.from(payloads[i] as Uint8Array));
      },
    ),
    { numRuns: 30 },
  );
});

test('a header is USTAR with no owner, no time and no names, and two zero blocks end the archive', async (t) => {
  const { file } = await written(t, [['key.cls', Buffer.from('3')]]);
  assert.equal(file.length, 4 * BLOCK);
  const field = (begin: number, end: number) => file.toString('latin1', begin, end).replaceAll('\0', '');
  assert.equal(field(0, 100), 'key.cls');
  assert.deepEqual(
    [field(100, 108), field(108, 116), field(116, 124)].map((text) => Number.parseInt(text, 8)),
    [0o644, 0, 0],
  );
  assert.deepEqual(
    [field(124, 136), field(136, 148)].map((text) => Number.parseInt(text, 8)),
    [1, 0],
  );
  assert.equal(file.toString('latin1', 156, 157), '0');
  assert.equal(file.toString('latin1', 257, 265), 'ustar\x0000');
  assert.equal(field(265, 329), '');
  assert.ok(file.subarray(2 * BLOCK).every((byte) => byte === 0));
});

test('the name appears only when the archive is whole, and an aborted one leaves nothing', async (t) => {
  const dir = await temporaryFolder(t);
  const tar = await TarWriter.create(join(dir, 'a.tar'));
  await tar.append('a.jpg', new Uint8Array(3_000_000));
  assert.deepEqual(await readdir(dir), ['a.tar.tmp']);
  await tar.finish();
  assert.deepEqual(await readdir(dir), ['a.tar']);
  const second = await TarWriter.create(join(dir, 'b.tar'));
  await second.append('b.jpg', new Uint8Array(3_000_000));
  await second.abort();
  assert.deepEqual(await readdir(dir), ['a.tar']);
});

test('a name that USTAR cannot hold is refused before anything is written', async (t) => {
  const dir = await temporaryFolder(t);
  const tar = await TarWriter.create(join(dir, 'a.tar'));
  for (const name of ['', 'x'.repeat(101), 'ä.jpg', 'a b.jpg'])
    await assert.rejects(tar.append(name, new Uint8Array(1)), RangeError);
  await tar.abort();
});
