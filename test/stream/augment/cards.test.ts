import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { checkCard } from '../../cards.ts';

const augment = new URL('../../../../stream/augment/', import.meta.url);
const files = await readdir(augment);

test('every augmentation has a card beside its code, and every card its code', () => {
  const named = (ending: string) =>
    files.filter((file) => file.endsWith(ending)).map((file) => file.slice(0, -ending.length));
  assert.ok(named('.md').length > 0);
  assert.deepEqual(named('.md').sort(), named('.ts').sort());
});

for (const card of files.filter((file) => file.endsWith('.md')))
  test(`the card ${card} is whole, and its defaults are the recipe's`, async () => {
    checkCard(await readFile(new URL(card, augment), 'utf8'));
  });
