import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { checkCard, keysWithDefaults } from '../../cards.ts';

const methods = new URL('../../../../trainer/methods/', import.meta.url);
const cardOf = (method: string) => readFile(new URL(`${method}/README.md`, methods), 'utf8');
const names = (await readdir(methods, { withFileTypes: true }))
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

for (const name of names)
  test(`the card of ${name} is whole, and its defaults are the recipe's`, async () => {
    checkCard(await cardOf(name));
  });

/** What every run has, and no method of the trainer's. */
const NO_METHOD = [
  'augmentation.flip',
  'augmentation.ratio',
  'augmentation.scale',
  'checkpointSteps',
  'damaged',
  'evaluation.cropRatio',
  'groups',
  'model.block',
  'model.layers',
  'model.width',
  'optimizer.lrPerBatch',
  'optimizer.momentum',
  'optimizer.nesterov',
  'orderWindow',
  'seed',
];

test('every default of a recipe is in a card, unless it is no method’s', async () => {
  const told = await Promise.all(names.map(async (name) => checkCard(await cardOf(name))));
  const missing = keysWithDefaults().filter((key) => !told.flat().includes(key));
  assert.deepEqual(missing, NO_METHOD);
});

test('the trainer’s card lists every method with a link', async () => {
  const card = await readFile(new URL('../README.md', methods), 'utf8');
  const linked = [...card.matchAll(/\]\(methods\/([a-z-]+)\)/g)].map(([, name]) => name);
  assert.deepEqual(linked.toSorted(), names.toSorted());
});
