import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { daliIndex, daliLine, decodeIndex, encodeIndex, Fault, type IndexRow, shardListing } from '#shards';

const int = fc.nat(2 ** 31 - 1);
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
const HASHES = ['sha256', 'clsSha256', 'jsonSha256'] as const;
const row: fc.Arbitrary<IndexRow> = fc.record({
  // A tar may be larger than 4 GiB.
  offset: fc.maxSafeNat(),
  bytes: int,
  label: int,
  width: int,
  height: int,
  position: int,
  jsonBytes: int,
  sha256: hash,
  clsSha256: hash,
  jsonSha256: hash,
});

test('an index reads back as it was written, the empty one too', () => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 20 }), (rows) => {
      const index = decodeIndex(encodeIndex('train-000003.tar', rows));
      assert.equal(index.shard, 'train-000003.tar');
      assert.equal(index.samples, rows.length);
      for (const [i, { sha256, clsSha256, jsonSha256, ...expected }] of rows.entries()) {
        for (const [name, value] of Object.entries(expected))
          assert.equal(index[name as keyof typeof expected][i], value, name);
        const hashes = { sha256, clsSha256, jsonSha256 };
        for (const name of HASHES)
          assert.deepEqual(Buffer.from(index[name].subarray(32 * i, 32 * i + 32)), Buffer.from(hashes[name]), name);
      }
    }),
  );
});

test('an index that starts at an odd address is read all the same', () => {
  const [sha256, clsSha256, jsonSha256] = [1, 2, 3].map((value) => new Uint8Array(32).fill(value)) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const hashes = { sha256, clsSha256, jsonSha256 };
  const rows: IndexRow[] = [
    { offset: 512, bytes: 9, label: 1, width: 2, height: 3, position: 4, jsonBytes: 5, ...hashes },
  ];
  const moved = new Uint8Array(encodeIndex('a.tar', rows).length + 1);
  moved.set(encodeIndex('a.tar', rows), 1);
  const index = decodeIndex(moved.subarray(1));
  assert.deepEqual([index.offset[0], index.bytes[0], index.position[0], index.jsonBytes[0]], [512, 9, 4, 5]);
  assert.deepEqual([index.sha256[31], index.clsSha256[0], index.jsonSha256[31]], [1, 2, 3]);
});

test('another format, or columns of different lengths, are refused by name', () => {
  const good = encodeIndex('a.tar', []).toString('latin1');
  const foreign = Buffer.from(good.replace('medium-recipe/index@2', 'medium-recipe/index@1'), 'latin1');
  assert.throws(
    () => decodeIndex(foreign),
    (error) => error instanceof Fault && error.code === 'index-format' && error.received.includes('index@1'),
  );
  const renamed = Buffer.from(good.replace('"height"', '"hEIGHT"'), 'latin1');
  assert.throws(
    () => decodeIndex(renamed),
    (error) => error instanceof Fault && error.code === 'index-format' && error.received.includes("'height'"),
  );
});

test("DALI's index has a line a sample with extension, offset, bytes and name of each member", () => {
  const first = [
    { name: '00000000-a.jpg', offset: 512, bytes: 700 },
    { name: '00000000-a.cls', offset: 2048, bytes: 1 },
  ];
  const second = [{ name: '00000001-b.jpg', offset: 3072, bytes: 5 }];
  const text = daliIndex([first, second].map(daliLine));
  assert.equal(text, 'v1.2 2\njpg 512 700 00000000-a.jpg cls 2048 1 00000000-a.cls\njpg 3072 5 00000001-b.jpg\n');
});

test("WebDataset's listing names the shards from its own folder", () => {
  const listing = JSON.parse(shardListing('train-128', [{ file: 'train-000000.tar', samples: 3, bytes: 4096 }]));
  assert.deepEqual(listing, {
    __kind__: 'wids-shard-index-v1',
    wids_version: 1,
    name: 'train-128',
    shardlist: [{ url: 'train-000000.tar', nsamples: 3, filesize: 4096 }],
  });
});
