// SHA256SUMS of a folder, in the form that `sha256sum -c` checks: a changed byte in any of its files is found.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export const SUMS = 'SHA256SUMS';

/** In hexadecimal. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The file's text: a line a file, by name. Files that are optional, and not there, have none. */
export function sumsText(sums: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(sums)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, sum]) => (sum === undefined ? '' : `${sum}  ${name}\n`))
    .join('');
}

/** The folder's SHA256SUMS; null where it has none. */
export async function readSums(folder: string): Promise<string | null> {
  return readFile(join(folder, SUMS), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
}

/** What the text says of one file. */
export function sumOf(text: string, name: string): string | undefined {
  const line = text.split('\n').find((line) => line.endsWith(`  ${name}`));
  return line?.slice(0, -name.length - 2);
}
