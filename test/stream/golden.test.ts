// The stream's formats are final: these bytes must not change. Made once from the values below.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { encodeLedger } from '../../stream/ledger.ts';
import { encodeMeta, META_FORMAT } from '../../stream/meta.ts';
import { planHashOf, trainHashOf } from '../../stream/plan.ts';
import { parseRecipe } from '../../stream/recipe.ts';
import { allocateRecord, readRecord } from '../../stream/record.ts';
import { smallPlan, smallRecipe } from './fixtures.ts';

const golden = (name: string) => readFile(new URL(`../../../test/golden/${name}`, import.meta.url));

const ID = {
  plan: 'ab'.repeat(32),
  split: 'train' as const,
  epoch: 3,
  step: 41,
  lane: 1,
  chunk: 0,
  chunks: 2,
  resolution: 2,
};

function goldenRecord(): Uint8Array {
  const { bytes, tensors } = allocateRecord(ID, 2);
  tensors.labelA.set([3, 1]);
  tensors.labelB.set([1, 3]);
  tensors.lam.fill(12288 / 16384);
  tensors.sample.set([70, 9]);
  tensors.images.forEach((_, i) => {
    tensors.images[i] = i * 10;
  });
  return bytes;
}

const goldenLedger = () =>
  encodeLedger({
    topic: 'run.train.16',
    lane: 1,
    step: 41,
    epoch: 3,
    offset: 82,
    end: 84,
    chunks: 2,
    samples: 4,
    bytes: 1024,
    digest: '0123456789abcdef0123456789abcdef',
    fingerprint: 'jpeg-turbo@2.3.0+resize@1+record@1',
  });

/** The golden recipe, as it was when the bytes were made: keys that recipes get later change neither it nor its hashes. */
const RECIPE = JSON.parse(String(await golden('meta.json'))).recipe;

const goldenMeta = () =>
  encodeMeta({
    format: META_FORMAT,
    planHash: planHashOf(smallPlan()),
    trainHash: trainHashOf(smallRecipe()),
    plan: smallPlan(),
    recipe: RECIPE,
    dataset: {
      sha256: '0'.repeat(64),
      counts: { train: 37, val: 5 },
      classes: [{ index: 0, wnid: 'n00015388', name: 'animal' }],
    },
    fingerprint: 'jpeg-turbo@2.3.0+resize@1+record@1',
  });

describe('the golden bytes', () => {
  const cases: [string, () => Uint8Array][] = [
    ['record.safetensors', goldenRecord],
    ['ledger.json', goldenLedger],
    ['meta.json', goldenMeta],
  ];
  for (const [name, make] of cases)
    it(`of ${name} are what we write`, async () => {
      assert.ok((await golden(name)).equals(make()));
    });

  it('of the record read back to its identity and tensors', async () => {
    const { id, tensors } = readRecord(await golden('record.safetensors'), 'golden');
    assert.deepEqual(id, ID);
    assert.deepEqual(
      [[...tensors.labelA], [...tensors.labelB]],
      [
        [3, 1],
        [1, 3],
      ],
    );
    assert.deepEqual(
      [[...tensors.lam], [...tensors.sample]],
      [
        [0.75, 0.75],
        [70, 9],
      ],
    );
    assert.deepEqual(
      [...tensors.images],
      Array.from({ length: 24 }, (_, i) => i * 10),
    );
  });

  it('of the meta hold a recipe that still has the same hashes', async () => {
    const { trainHash, planHash } = JSON.parse(String(await golden('meta.json')));
    const recipe = parseRecipe(RECIPE, 'the golden recipe');
    assert.deepEqual(recipe, smallRecipe());
    assert.deepEqual([trainHashOf(recipe), planHashOf(smallPlan())], [trainHash, planHash]);
  });

  it('of another format are refused by name', async () => {
    const other = Buffer.from(
      (await golden('record.safetensors')).toString('latin1').replace('record@1', 'record@2'),
      'latin1',
    );
    assert.throws(() => readRecord(other, 'other'), { code: 'record-format' });
  });
});
