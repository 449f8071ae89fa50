// The cards: each method's README names the defaults that the recipe's schema has, and has the same parts.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parseRecipe } from '#stream';

const methods = new URL('../../../../trainer/methods/', import.meta.url);
const PARTS = ['What it does', 'How to use it', 'Details and deviations', 'Defaults', 'Trade-off', 'Source'];

const minimal = {
  name: 'r',
  lanes: 1,
  phases: [{ resolution: 32, epochs: 1, batch: 4, fixres: {} }],
  optimizer: { lr: 0.1, weightDecay: 0 },
};

/** The default at a dotted key; a method that is off by default is switched on with nothing but what it demands. */
function defaultOf(key: string): unknown {
  const recipe = key.startsWith('sam.') ? { ...minimal, sam: { rho: 1 } } : minimal;
  let value: unknown = parseRecipe(recipe, 'test');
  for (const part of key.split('.')) {
    const node = (Array.isArray(value) ? value[0] : value) as Record<string, unknown>;
    assert.ok(part in node, `the recipe has no key '${key}'`);
    value = node[part];
  }
  return value;
}

for (const method of (await readdir(methods, { withFileTypes: true })).filter((entry) => entry.isDirectory()))
  test(`the card of ${method.name} is whole, and its defaults are the recipe's`, async () => {
    const card = await readFile(new URL(`${method.name}/README.md`, methods), 'utf8');
    const parts = [...card.matchAll(/^\*\*([^*]+)\.\*\*/gm)].map(([, part]) => part);
    assert.deepEqual(parts, PARTS);
    const rows = [...card.matchAll(/^\| `([^`]+)` +\| `([^`]+)` +\|$/gm)];
    assert.ok(rows.length > 0 || card.includes('**Defaults.** None'), 'a table of defaults');
    for (const [, key = '', value = ''] of rows) assert.deepEqual(JSON.parse(value), defaultOf(key), key);
  });
