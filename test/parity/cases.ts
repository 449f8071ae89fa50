// The cases of this folder, by name.

import { readdir } from 'node:fs/promises';
import { type CaseFile, readCase } from './case-file.ts';

const CASES = new URL('../../../test/parity/cases/', import.meta.url);

export async function caseNames(): Promise<string[]> {
  const files = await readdir(CASES);
  return files.filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -'.json'.length));
}

export function namedCase(name: string): Promise<CaseFile> {
  return readCase(new URL(`${name}.json`, CASES));
}
