// A folder belongs to one process at a time: a lock file that names its owner, taken over when the owner is gone.

import { constants } from 'node:fs';
import { copyFile, link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from './canonical.ts';
import { Fault } from './errors.ts';
import { identityOf, lives, type ProcessIdentity } from './process-identity.ts';

export interface Lock {
  release(): Promise<void>;
}

/**
 * Creates the folder if need be and locks it.
 * @throws Fault `out-locked` while another live process holds it.
 */
export async function lockFolder(folder: string): Promise<Lock> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'lock');
  const mine = `${path}.${process.pid}`;
  await writeFile(mine, `${canonicalJson(await identityOf(process.pid))}\n`);
  try {
    // Each turn takes the lock, fails, or has removed a stale one. A link appears with its content or not at all.
    while (!(await linked(mine, path))) await removeStale(path);
  } finally {
    await rm(mine, { force: true });
  }
  return { release: () => rm(path, { force: true }) };
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to).catch((error: NodeJS.ErrnoException) => {
      // Some file systems (exFAT, many network ones) have no links.
      if (!['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'].includes(error.code ?? '')) throw error;
      return copyFile(from, to, constants.COPYFILE_EXCL);
    });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function removeStale(path: string): Promise<void> {
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return;
  const owner = parseOwner(text);
  if (owner === null || (await lives(owner))) {
    throw new Fault({
      code: 'out-locked',
      received: `${path} of ${owner ? `process ${owner.pid} on ${owner.host}` : 'an unknown process'}`,
      expected: 'a folder that no other process writes to',
      remedy: 'stop that process or choose another --out; if it is surely gone, remove the file',
    });
  }
  // By renaming, only one of several that saw the same stale lock removes it …
  const doomed = `${path}.${process.pid}.stale`;
  await rename(path, doomed).catch(() => undefined);
  // … and one that came late, and took a new owner's lock instead, gives it back.
  const taken = await readFile(doomed, 'utf8').catch(() => null);
  if (taken !== null && taken !== text) await linked(doomed, path);
  await rm(doomed, { force: true });
}

function parseOwner(text: string): ProcessIdentity | null {
  try {
    const owner = JSON.parse(text) as ProcessIdentity;
    return Number.isInteger(owner.pid) ? owner : null;
  } catch {
    return null;
  }
}
