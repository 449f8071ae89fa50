// A folder of the cache that is made once for given settings: aside, under a lock, then renamed.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheRoot, temporary, withLock } from '../setup/plain.ts';

export interface CachedFolder {
  /** Kind of folder, a folder of the cache itself. */
  readonly name: string;
  /** All that the content depends on. */
  readonly settings: unknown;
  /** Told once when another process is making it. */
  readonly say: (line: string) => void;
  /** Fills the empty folder `aside`; what it throws leaves nothing behind. */
  readonly make: (aside: string) => Promise<void>;
}

/** @returns the folder's path: `CACHE/NAME/HASH` */
export async function cachedFolder({ name, settings, say, make }: CachedFolder): Promise<string> {
  const cache = cacheRoot();
  const hash = createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 12);
  const home = join(cache, name, hash);
  if (existsSync(home)) return home;
  const waiting = (owner: string) => say(`waiting for process ${owner}, which makes ${home}`);
  await withLock(join(cache, 'locks', `${name}-${hash}`), waiting, async () => {
    if (existsSync(home)) return;
    const aside = temporary(cache);
    try {
      await make(aside);
      await mkdir(dirname(home), { recursive: true });
      await rename(aside, home);
    } finally {
      await rm(aside, { recursive: true, force: true });
    }
  });
  return home;
}
