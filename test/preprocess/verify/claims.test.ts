// What a wrong writer could have put under right hashes.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { decodeIndex, type IndexRow, type Manifest } from '#shards';
import { placesOf } from '../../../preprocess/verify/rows.ts';
import { temporaryFolder } from '../../shards/dataset.ts';
import { findings, jpegOf, type Packed, reindex, reseal, sealedDataset, verified } from './sealed.ts';

const TAR = '8/train-000000.tar';
const INDEX = '8/train-000000.index.safetensors';
/** The third sample of that shard. */
const KEY = '00000003-photo_3';

type Change = (dir: string) => Promise<void>;

/** Changes the rows of the index and nothing else. */
const rows =
  (change: (row: IndexRow, i: number) => Partial<IndexRow>): Change =>
  (dir) =>
    reindex(dir, TAR, (all) => all.map((row, i) => ({ ...row, ...change(row, i) })));

/** Replaces text in the tar, or another file, by a text of the same length. */
const replace =
  (file: string, from: string, to: string): Change =>
  async (dir) => {
    const text = await readFile(join(dir, file), 'latin1');
    assert.ok(text.includes(from), `'${from}' is in ${file}`);
    await writeFile(join(dir, file), text.replace(from, to), 'latin1');
  };

const inTurn =
  (...changes: readonly Change[]): Change =>
  async (dir) => {
    for (const change of changes) await change(dir);
  };

/** After a change in the tar: the index has the hashes of what is there. */
const rehashed: Change = (dir) => reindex(dir, TAR, (all) => all);

const CHANGES: readonly (readonly [what: string, change: Change, found: readonly string[]])[] = [
  [
    'a position twice',
    rows((_, i) => (i === 1 ? { position: 0 } : {})),
    [`${INDEX}: position of sample 1`, `${TAR}: text of .json`],
  ],
  [
    'a position of a rejected source',
    rows((_, i) => (i === 1 ? { position: 1 } : {})),
    [`${INDEX}: position of sample 1`, `${TAR}: text of .json`],
  ],
  [
    'a position of the next shard',
    rows((_, i) => (i === 2 ? { position: 4 } : {})),
    [`${INDEX}: position of sample 2`, `${TAR}: text of .json`],
  ],
  [
    'a label without a class',
    rows((_, i) => (i === 2 ? { label: 3 } : {})),
    [`${INDEX}: label of sample 2`, `${TAR}: text of .cls`, `${TAR}: text of .json`],
  ],
  [
    'a label of another class',
    rows((_, i) => (i === 2 ? { label: 1 } : {})),
    [`${TAR}: text of .cls`, `${TAR}: text of .json`],
  ],
  [
    'a size larger than the bucket stores',
    rows((_, i) => (i === 2 ? { width: 99, height: 99 } : {})),
    [`${INDEX}: short side of sample 2`, `${TAR}: text of .json`],
  ],
  [
    'a smaller size than stored',
    rows((_, i) => (i === 2 ? { height: 11 } : {})),
    [`${TAR}: text of .json`, 'manifest.json: notEnlarged of bucket 8'],
  ],
  [
    'a place between two members',
    rows((row, i) => (i === 1 ? { offset: row.offset + 512 } : {})),
    [`${INDEX}: place of sample 1`],
  ],
  [
    'a sample too few in the index',
    (dir) => reindex(dir, TAR, (all) => all.slice(0, -1)),
    [`${INDEX}: samples`, `${INDEX}: end of the last sample`],
  ],
  ['the index of another shard', replace(INDEX, 'train-000000.tar', 'train-000009.tar'), [`${INDEX}: shard`]],
  ['an index of another format', replace(INDEX, 'index@2', 'index@3'), [`${INDEX}: index-format`]],
  [
    'a hash of something else',
    rows((row, i) => (i === 2 ? { jsonSha256: row.sha256 } : {})),
    [`${TAR}: sha256 of .json`],
  ],
  ['another class in .json', inTurn(replace(TAR, '"wnid":"n01"', '"wnid":"n02"'), rehashed), [`${TAR}: text of .json`]],
  ['no JSON in .json', inTurn(replace(TAR, '{"height"', '["height"'), rehashed), [`${TAR}: text of .json`]],
  ['another name in a header', replace(TAR, `${KEY}.cls`, `${KEY}.clx`), [`${TAR}: header of .cls`]],
  [
    'a wrong line in the index for DALI',
    replace(TAR.replace('.tar', '.idx'), 'json ', 'jsno '),
    ['8/train-000000.idx: line 2'],
  ],
  [
    'a reject of another position',
    replace('rejects.jsonl', '"position":5', '"position":8'),
    [
      'rejects.jsonl: position in line 4',
      '8/train-000002.index.safetensors: position of sample 0',
      '16/train-000002.index.safetensors: position of sample 0',
    ],
  ],
  [
    'a reject with an unknown code',
    replace('rejects.jsonl', 'empty-file', 'funny-file'),
    ['rejects.jsonl: line 1', 'rejects.jsonl: count by code', 'rejects.jsonl: rejects of train'],
  ],
  [
    'a reject beyond the sources',
    replace('rejects.jsonl', '"position":2', '"position":3'),
    ['rejects.jsonl: position in line 6'],
  ],
];

/** A sound dataset, changed and given right hashes. */
async function changed(t: TestContext, change: Change, manifest?: (body: Manifest) => void): Promise<string[]> {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir);
  await change(dir);
  await reseal(dir, manifest);
  return findings(await verified(dir));
}

for (const [what, change, found] of CHANGES)
  test(`under right hashes ${what} is found`, async (t) => {
    assert.deepEqual(await changed(t, change), found);
  });

const CLAIMS: readonly (readonly [what: string, change: (manifest: Manifest) => void])[] = [
  ['dataset.counts.train', ({ dataset }) => dataset.counts.train++],
  ['dataset.classes.1.index', ({ dataset: { classes } }) => Object.assign(classes[1] as object, { index: 2 })],
  [
    'dataset.classes.1.wnid first at',
    ({ dataset: { classes } }) => Object.assign(classes[1] as object, { wnid: 'n01' }),
  ],
  ['splits.val.viaTurbo', ({ splits }) => Object.assign(splits.val, { viaTurbo: 3 })],
  ['splits.val.viaSharp', ({ splits }) => Object.assign(splits.val, { viaSharp: 3 })],
  ['splits.train.buckets.8.bytes', ({ splits }) => Object.assign(splits.train.buckets['8'] as object, { bytes: 1 })],
  [
    'splits.val.buckets.8.shortSide',
    ({ splits }) => Object.assign(splits.val.buckets['8'] as object, { shortSide: 13 }),
  ],
  [
    'splits.train.buckets.8.resolution',
    ({ splits }) => Object.assign(splits.train.buckets['8'] as object, { resolution: 9 }),
  ],
  ['resolutions of val', ({ splits }) => delete splits.val.buckets['8']],
  ['splits.train.buckets.8.shards.0.file', ({ splits }) => splits.train.buckets['8']?.shards.reverse()],
  ['length of splits.train.buckets.8.shards', ({ splits }) => Object.assign(splits.train, { positions: 13 })],
  ['rejects.count', ({ rejects }) => rejects.count++],
  ['sum of rejects.byCode', ({ rejects }) => Object.assign(rejects.byCode, { damaged: 1 })],
];

for (const [what, change] of CLAIMS)
  test(`a manifest that contradicts itself is found: ${what}`, async (t) => {
    const found = await changed(
      t,
      async () => {},
      (manifest) => void change(manifest),
    );
    assert.ok(found.includes(`manifest.json: ${what}`), found.join('; '));
  });

test('buckets that do not hold the same samples are found', async (t) => {
  const dir = await temporaryFolder(t);
  const other = ({ info, jpg }: Packed): Packed => ({
    jpg,
    info: info.height === 20 && info.position === 3 ? { ...info, source: info.source.replace('.JPEG', '.jpeg') } : info,
  });
  await sealedDataset(dir, other);
  assert.deepEqual(findings(await verified(dir)), ['16/train-000000.tar: samples']);
});

test('an image of val that is no square is found', async (t) => {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir, ({ info, jpg }) => ({
    jpg,
    info: info.source.startsWith('val') && info.height === 20 ? { ...info, width: 21 } : info,
  }));
  // Position 0 is smaller than the bucket.
  assert.deepEqual(findings(await verified(dir)), ['16/val-000000.index.safetensors: size of sample 1']);
});

const IMAGES: readonly (readonly [what: string, image: (jpg: Buffer) => Promise<Buffer>, received: RegExp])[] = [
  ['ends early', async (jpg) => jpg.subarray(0, jpg.length - 40), /does not decode to its end/],
  ['is no JPEG', async (jpg) => sharp(jpg).png().toBuffer(), /no JPEG/],
  ['has one channel', async (jpg) => sharp(jpg).toColourspace('b-w').jpeg().toBuffer(), /1 channels/],
  ['is progressive', async (jpg) => sharp(jpg).jpeg({ progressive: true }).toBuffer(), /progressive/],
  ['has another size', () => jpegOf(31, 12, 0), /31 × 12/],
  ['has no bytes', async () => Buffer.alloc(0), /no JPEG/],
];

for (const [what, image, received] of IMAGES)
  test(`only --deep finds an image that ${what}`, async (t) => {
    const dir = await temporaryFolder(t);
    const replacement = await image(await jpegOf(15, 12, 3));
    const swap = ({ info, jpg }: Packed): Packed => ({
      info,
      jpg: info.key === KEY && info.height === 12 ? replacement : jpg,
    });
    await sealedDataset(dir, swap);
    assert.equal((await verified(dir)).damageCount, 0);
    const { damages } = await verified(dir, true);
    const index = decodeIndex(await readFile(join(dir, INDEX)));
    assert.deepEqual(findings({ damages }), [`${TAR}: image`]);
    assert.deepEqual([damages[0]?.key, damages[0]?.offset], [KEY, placesOf(index, 2).jpg.offset]);
    assert.match(damages[0]?.received ?? '', received);
  });
