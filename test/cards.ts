// What every card of a method or an augmentation must have: all parts, and the defaults that the recipe's schema has.

import assert from 'node:assert/strict';
import { parseRecipe } from '#stream';

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

export function checkCard(card: string): void {
  const parts = [...card.matchAll(/^\*\*([^*]+)\.\*\*/gm)].map(([, part]) => part);
  assert.deepEqual(parts, PARTS);
  const rows = [...card.matchAll(/^\| `([^`]+)` +\| `([^`]+)` +\|$/gm)];
  assert.ok(rows.length > 0 || card.includes('**Defaults.** None'), 'a table of defaults');
  for (const [, key = '', value = ''] of rows) assert.deepEqual(JSON.parse(value), defaultOf(key), key);
}
