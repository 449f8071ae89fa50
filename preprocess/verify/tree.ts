// Which files a dataset consists of, and which lie there besides.

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MANIFEST_FILE, type Manifest, SPLITS } from '#shards';
import { REJECTS_FILE } from '../rejects.ts';
import { STATE_FOLDER } from '../workspace.ts';
import { asReadDamage, type DamageList } from './damage.ts';

/** Paths from the dataset's folder, by the folder they lie in ('' is the dataset's own). */
function filesOf({ splits }: Manifest): Map<string, Set<string>> {
  const folders = new Map([['', new Set([MANIFEST_FILE, REJECTS_FILE])]]);
  for (const split of SPLITS)
    for (const [resolution, { shards }] of Object.entries(splits[split].buckets)) {
      const files = folders.get(resolution) ?? new Set();
      folders.set(resolution, files);
      files.add(`${resolution}/${split}.json`);
      for (const { file } of shards)
        for (const suffix of ['.tar', '.idx', '.index.safetensors']) files.add(file.replace(/\.tar$/, suffix));
    }
  return folders;
}

/** Tells of what lies there besides. Missing files are told where each is read. */
export async function checkTree(dir: string, manifest: Manifest, damages: DamageList): Promise<void> {
  const folders = filesOf(manifest);
  for (const [folder, files] of folders) {
    const entries: string[] = await readdir(join(dir, folder)).catch((error: unknown) => {
      const damage = asReadDamage(error, folder === '' ? '.' : folder);
      // Of a folder that misses, each file is told.
      if (damage.what !== 'missing') damages.add(damage);
      return [];
    });
    for (const name of entries.sort()) {
      const path = folder === '' ? name : `${folder}/${name}`;
      const known = files.has(path) || (folder === '' && folders.has(name));
      if (known) continue;
      const expected =
        name === STATE_FOLDER ? `nothing: a run was killed when it was done, and --resume tidies up` : 'nothing';
      damages.add({ file: path, what: 'unexpected', expected, received: 'a file or folder' });
    }
  }
}
