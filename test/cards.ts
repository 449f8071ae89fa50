// What every card of a method or an augmentation must have: all parts, and the defaults that the recipe's schema has.

import assert from 'node:assert/strict';
import { parseRecipe } from '#stream';

const PARTS = ['What it does', 'How to use it', 'Details and deviations', 'Defaults', 'Trade-off', 'Source'];

const minimal = {
  name: 'r',
  lanes: 1,
  phases: [
    { resolution: 32, epochs: 1, batch: 4, fixres: {} },
    { resolution: 32, epochs: 2, batch: 4 },
  ],
  optimizer: { lr: 0.1, weightDecay: 0 },
};

/** By the start of their keys: what is off by default, switched on with nothing but what it demands. */
const ON: Record<string, object> = {
  'sam.': { sam: { rho: 1 } },
  'clip.': { clip: { norm: 1 } },
  'ema.': { ema: { halfLifeImages: 1 } },
  'optimizer.schedule.': { optimizer: { ...minimal.optimizer, schedule: { milestones: [1] } } },
};

/** The default at a dotted key. */
function defaultOf(key: string): unknown {
  const [, on = {}] = Object.entries(ON).find(([start]) => key.startsWith(start)) ?? [];
  let value: unknown = parseRecipe({ ...minimal, ...on }, 'test');
  for (const part of key.split('.')) {
    const node = (Array.isArray(value) ? value[0] : value) as Record<string, unknown>;
    assert.ok(part in node, `the recipe has no key '${key}'`);
    value = node[part];
  }
  return value;
}

/** The keys of a recipe that need not be given, those of methods that are off by default included. */
export function keysWithDefaults(): string[] {
  const keys = new Set<string>();
  for (const on of [{}, ...Object.values(ON)]) {
    const given = { ...minimal, ...on };
    const flat = (recipe: { readonly phases: readonly object[] }) => leavesOf({ ...recipe, phases: recipe.phases[0] });
    const said = new Set(flat(given));
    for (const key of flat(parseRecipe(given, 'test'))) if (!said.has(key)) keys.add(key);
  }
  return [...keys].sort();
}

function leavesOf(value: object): string[] {
  return Object.entries(value).flatMap(([key, child]) =>
    typeof child !== 'object' || child === null || Array.isArray(child)
      ? [key]
      : leavesOf(child).map((path) => `${key}.${path}`),
  );
}

/** Checks a card; returns the keys whose defaults it tells. */
export function checkCard(card: string): string[] {
  const parts = [...card.matchAll(/^\*\*([^*]+)\.\*\*/gm)].map(([, part]) => part);
  assert.deepEqual(parts, PARTS);
  const rows = [...card.matchAll(/^\| `([^`]+)` +\| `([^`]+)` +\|$/gm)];
  assert.ok(rows.length > 0 || card.includes('**Defaults.** None'), 'a table of defaults');
  for (const [, key = '', value = ''] of rows) assert.deepEqual(JSON.parse(value), defaultOf(key), key);
  return rows.map(([, key = '']) => key);
}
