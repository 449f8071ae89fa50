// Readable names of classes: from the source's own tables, else from the shipped table of ImageNet-1k.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '../errors.ts';
import type { ClassEntry } from '../manifest.ts';
import { unreadable } from './folder-entries.ts';

/** From the package's root, because tsc copies no data to dist/. */
const IMAGENET_TABLE = new URL('../../../shards/imagenet/classes.tsv', import.meta.url);

export interface ImageNetClass {
  readonly wnid: string;
  /** ILSVRC2012_ID, 1 … 1000: what the devkit's ground truth counts in. It is not the order of the wnids. */
  readonly id: number;
  /** WordNet's lemmas: 'tench, Tinca tinca'. */
  readonly name: string;
}

/** The 1000 classes of ILSVRC 2012, sorted by wnid; shards/imagenet/README.md says where the table is from. */
export async function imageNetClasses(): Promise<ImageNetClass[]> {
  const text = await readFile(IMAGENET_TABLE, 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => {
      const [wnid, id, name] = line.split('\t') as [string, string, string];
      return { wnid, id: Number(id), name };
    });
}

export class ClassNames {
  /** The wnids of `classes.tsv` by row, the place of a label where nothing else names it; null without that file. */
  readonly rows: readonly string[] | null;
  readonly #names: ReadonlyMap<string, string>;

  private constructor(rows: readonly string[] | null, names: ReadonlyMap<string, string>) {
    this.rows = rows;
    this.#names = names;
  }

  /**
   * `classes.tsv` (columns `wnid`, `name`) before `LOC_synset_mapping.txt` before ImageNet's own.
   * @param folders where to look for the first two, the nearest first
   * @throws Fault `bad-classes-tsv`, `source-unreadable`
   */
  static async read(folders: readonly string[]): Promise<ClassNames> {
    const names = new Map((await imageNetClasses()).map(({ wnid, name }) => [wnid, name]));
    const mapping = await firstText(folders, 'LOC_synset_mapping.txt');
    for (const [, wnid, name] of mapping?.text.matchAll(/^(\S+) +(.*\S)\s*$/gm) ?? [])
      names.set(wnid as string, name as string);
    const table = await firstText(folders, 'classes.tsv');
    if (table === null) return new ClassNames(null, names);
    const rows = parseTable(table.path, table.text);
    for (const [wnid, name] of rows) names.set(wnid, name);
    return new ClassNames(
      rows.map(([wnid]) => wnid),
      names,
    );
  }

  /** The class list of the manifest; `wnids` by label. */
  entries(wnids: readonly string[]): ClassEntry[] {
    return wnids.map((wnid, index) => {
      const name = this.#names.get(wnid);
      return name === undefined ? { index, wnid } : { index, wnid, name };
    });
  }
}

function parseTable(path: string, text: string): [wnid: string, name: string][] {
  const [head = [], ...rows] = text
    .split(/\r?\n/)
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
  const wnidColumn = head.indexOf('wnid');
  const nameColumn = head.indexOf('name');
  return rows.map((row) => {
    const wnid = row[wnidColumn];
    const name = row[nameColumn];
    if (wnid !== undefined && name !== undefined) return [wnid, name];
    throw new Fault({
      code: 'bad-classes-tsv',
      received: `${path} with columns '${head.join("', '")}' and a line '${row.join(' ')}'`,
      expected: `tab-separated columns 'wnid' and 'name', named in the first line`,
      remedy: 'mend or remove it; it gives readable names, and the classes of shards that hold only numbers',
    });
  });
}

/** The first of these folders that has the file. */
export async function firstText(
  folders: readonly string[],
  name: string,
): Promise<{ path: string; text: string } | null> {
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      return { path, text: await readFile(path, 'utf8') };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ENOTDIR') throw unreadable(path, error);
    }
  }
  return null;
}
