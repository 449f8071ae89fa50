// Lists a folder: its files and folders by name, links followed.

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '../errors.ts';
import { compareText } from './listing.ts';

export interface FolderEntry {
  readonly name: string;
  readonly folder: boolean;
}

/**
 * Files and folders, sorted by code units. Hidden ones and what is neither (a socket) are left out; a link that leads
 * nowhere counts as a file, so that it is rejected aloud where it is read.
 * @throws Fault `source-unreadable`
 */
export async function entriesOf(folder: string): Promise<FolderEntry[]> {
  const found = await readdir(folder, { withFileTypes: true }).catch((cause: unknown) => {
    throw unreadable(folder, cause);
  });
  const entries: FolderEntry[] = [];
  for (const entry of found) {
    if (entry.name.startsWith('.')) continue;
    const target = entry.isSymbolicLink() ? await stat(join(folder, entry.name)).catch(() => null) : entry;
    if (target === null || target.isFile() || target.isDirectory())
      entries.push({ name: entry.name, folder: target?.isDirectory() ?? false });
  }
  return entries.sort((a, b) => compareText(a.name, b.name));
}

export async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() ?? false;
}

export async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isFile() ?? false;
}

export function unreadable(path: string, cause: unknown): Fault {
  return new Fault({
    code: 'source-unreadable',
    received: `${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? (cause as Error).message})`,
    expected: 'sources that the system lets us read',
    remedy: 'check its permissions and the disk, or take it out of --source',
    cause,
  });
}
