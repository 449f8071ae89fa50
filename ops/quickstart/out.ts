// The quickstart's folder is made anew each time: only one that a quickstart made may be emptied.

import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '#shards';

/** The file by which a later quickstart knows the folder as its own. */
const MARKER = '.quickstart';

/**
 * Makes the folder, or empties one that a quickstart made.
 * @throws Fault `out-taken` for any other folder that holds something, and for what is no folder.
 */
export async function makeAnew(out: string): Promise<void> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    if (error.code === 'ENOTDIR') throw taken(`--out ${out}, which is no folder`, error);
    throw error;
  });
  if (names.length > 0 && !names.includes(MARKER)) throw taken(`--out ${out}, which holds ${names.sort()[0]}`);
  // The marker stays throughout, so that a folder half emptied is still known.
  await mkdir(out, { recursive: true });
  await writeFile(join(out, MARKER), 'ops quickstart made this folder and empties it when it runs again\n');
  for (const name of names) if (name !== MARKER) await rm(join(out, name), { recursive: true });
}

function taken(received: string, cause?: unknown): Fault {
  return new Fault({
    code: 'out-taken',
    received,
    expected: `a new or empty folder, or one with the ${MARKER} of an earlier quickstart: it is emptied`,
    remedy: 'choose another --out',
    cause,
  });
}
