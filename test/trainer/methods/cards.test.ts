import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { checkCard } from '../../cards.ts';

const methods = new URL('../../../../trainer/methods/', import.meta.url);

for (const method of (await readdir(methods, { withFileTypes: true })).filter((entry) => entry.isDirectory()))
  test(`the card of ${method.name} is whole, and its defaults are the recipe's`, async () =>
    checkCard(await readFile(new URL(`${method.name}/README.md`, methods), 'utf8')));
