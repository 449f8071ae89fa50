// Lists the sources: SOURCE/train/CLASS/… and SOURCE/val/CLASS/…, sorted, with the class of each.

import type { Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ClassEntry, Fault, SPLITS, type Split } from '#shards';

/** The sources of one split, sorted by path; two arrays, because ImageNet has 1.3 million of them. */
export interface SourceList {
  /** From the source folder, with '/'. */
  readonly paths: readonly string[];
  readonly labels: Int32Array;
}

export interface Scan {
  readonly classes: readonly ClassEntry[];
  readonly sources: Readonly<Record<Split, SourceList>>;
  /** Files beside the class folders: they have no class. Ignored, and told. */
  readonly strays: readonly string[];
}

/** @throws Fault `no-source`, `no-split`, `no-classes`, `empty-class`, `unknown-class`, `no-photos`, `too-deep`, `bad-classes-tsv` */
export async function scan(source: string): Promise<Scan> {
  const strays: string[] = [];
  await mustBeFolder(source);
  const trainFolders = await classFolders(source, 'train', strays);
  if (trainFolders.length === 0)
    throw new Fault({
      code: 'no-classes',
      received: `no folder in ${join(source, 'train')}`,
      expected: 'one folder a class',
      remedy: `sort the photos into ${join(source, 'train')}/CLASS/`,
    });
  const names = await classNames(source);
  const classes = trainFolders.map((wnid, index) => {
    const name = names.get(wnid);
    return name === undefined ? { index, wnid } : { index, wnid, name };
  });
  const labels = new Map(trainFolders.map((wnid, index) => [wnid, index]));
  const train = await listSplit(source, 'train', trainFolders, labels);
  const valFolders = await classFolders(source, 'val', strays);
  const val = await listSplit(source, 'val', valFolders, labels);
  if (val.paths.length === 0)
    throw new Fault({
      code: 'no-photos',
      received: `no file in the class folders of ${join(source, 'val')}`,
      expected: 'photos for the evaluation',
      remedy: `put some into ${join(source, 'val')}/CLASS/`,
    });
  return { classes, sources: { train, val }, strays };
}

async function listSplit(
  source: string,
  split: Split,
  folders: readonly string[],
  labels: ReadonlyMap<string, number>,
): Promise<SourceList> {
  const found: { path: string; label: number }[] = [];
  for (const wnid of folders) {
    const label = labels.get(wnid);
    if (label === undefined)
      throw new Fault({
        code: 'unknown-class',
        received: `${split}/${wnid} has no counterpart in train/`,
        expected: 'a class that train/ has',
        remedy: `name it as in train/, add train/${wnid}, or take it away`,
      });
    const before = found.length;
    for await (const path of filesOf(source, `${split}/${wnid}`)) found.push({ path, label });
    if (split === 'train' && found.length === before)
      throw new Fault({
        code: 'empty-class',
        received: `no file in ${join(source, split, wnid)}`,
        expected: 'at least one photo in each class folder of train/',
        remedy: 'add photos or remove the folder',
      });
  }
  found.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { paths: found.map(({ path }) => path), labels: Int32Array.from(found, ({ label }) => label) };
}

/** Files of a class folder and of the folders in it (some data sets have CLASS/images/), as paths from `source`. */
async function* filesOf(source: string, folder: string): AsyncGenerator<string> {
  for (const entry of await entriesOf(join(source, folder))) {
    const path = `${folder}/${entry.name}`;
    if (entry.folder) {
      for (const inner of await entriesOf(join(source, path))) {
        if (inner.folder)
          throw new Fault({
            code: 'too-deep',
            received: `${path}/${inner.name} is a folder two levels below the class`,
            expected: `photos in ${folder}/ or in folders directly in it`,
            remedy: `move its photos up, or the folder out of ${source}`,
          });
        yield `${path}/${inner.name}`;
      }
    } else yield path;
  }
}

async function classFolders(source: string, split: Split, strays: string[]): Promise<string[]> {
  let entries: Entry[];
  try {
    entries = await entriesOf(join(source, split));
  } catch (cause) {
    throw new Fault({
      code: 'no-split',
      received: `${join(source, split)} cannot be listed (${(cause as NodeJS.ErrnoException).code})`,
      expected: `${SPLITS.map((name) => `${join(source, name)}/CLASS/`).join(' and ')} with the photos`,
      remedy: `make ${split}/ with one folder a class, or give another --source`,
      cause,
    });
  }
  strays.push(...entries.filter(({ folder }) => !folder).map(({ name }) => `${split}/${name}`));
  return entries
    .filter(({ folder }) => folder)
    .map(({ name }) => name)
    .sort();
}

interface Entry {
  readonly name: string;
  readonly folder: boolean;
}

/** Files and folders, links followed; hidden ones and what is neither (a socket, a dangling link) left out. */
async function entriesOf(folder: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.name.startsWith('.')) continue;
    const target: Dirent | Awaited<ReturnType<typeof stat>> | null = entry.isSymbolicLink()
      ? await stat(join(folder, entry.name)).catch(() => null)
      : entry;
    if (target?.isFile() || target?.isDirectory()) entries.push({ name: entry.name, folder: target.isDirectory() });
  }
  return entries;
}

async function mustBeFolder(source: string): Promise<void> {
  const found = await stat(source).catch((error: NodeJS.ErrnoException) => error);
  if (!(found instanceof Error) && found.isDirectory()) return;
  throw new Fault({
    code: 'no-source',
    received: `${source} ${found instanceof Error ? `cannot be read (${found.code})` : 'is not a folder'}`,
    expected: 'a folder with train/CLASS/ and val/CLASS/',
    remedy: 'give the folder of the photos as --source',
  });
}

/** Readable names from SOURCE/classes.tsv (columns `wnid` and `name`), where there is one. */
async function classNames(source: string): Promise<Map<string, string>> {
  const path = join(source, 'classes.tsv');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw error;
  }
  const [head = [], ...rows] = text
    .split(/\r?\n/)
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
  const wnidColumn = head.indexOf('wnid');
  const nameColumn = head.indexOf('name');
  const names = new Map<string, string>();
  for (const row of rows) {
    const wnid = row[wnidColumn];
    const name = row[nameColumn];
    if (wnid === undefined || name === undefined)
      throw new Fault({
        code: 'bad-classes-tsv',
        received: `${path} with columns '${head.join("', '")}' and a line '${row.join(' ')}'`,
        expected: `tab-separated columns 'wnid' and 'name', named in the first line`,
        remedy: 'mend or remove it; it only gives readable names',
      });
    names.set(wnid, name);
  }
  return names;
}
