// Class folders: train/CLASS/… and val/CLASS/…, or a flat val with a table of its classes.

import { join } from 'node:path';
import { Fault } from '../errors.ts';
import type { ClassEntry } from '../manifest.ts';
import type { Split } from '../sample.ts';
import { ClassNames, imageNetClasses } from './class-names.ts';
import { entriesOf, type FolderEntry, isFolder } from './folder-entries.ts';
import type { Listing } from './listing.ts';
import { labelFlatVal, readValLabels } from './val-labels.ts';

export interface FolderLayout {
  /** The source folder. */
  readonly dir: string;
  /** Where train/ and val/ are in it: '' or a path with '/' at its end. */
  readonly base: string;
  /** Where tables of names and of val's classes may be, the nearest first. */
  readonly tables: readonly string[];
}

/**
 * Lists both splits; memory holds one folder at a time.
 * @throws Fault `no-split`, `no-classes`, `empty-class`, `unknown-class`, `no-photos`, `too-deep`, and of the tables
 */
export async function listFolders({ dir, base, tables }: FolderLayout, listing: Listing): Promise<ClassEntry[]> {
  const withoutTrain = !listing.wants('train') && !(await isFolder(join(dir, base, 'train')));
  const trainEntries = withoutTrain ? [] : await splitEntries(dir, base, 'train');
  const valEntries = await splitEntries(dir, base, 'val');
  const wnids = withoutTrain ? await classesOfVal(valEntries) : foldersOf(trainEntries);
  if (wnids.length === 0)
    throw new Fault({
      code: 'no-classes',
      received: `no folder in ${join(dir, base, 'train')}`,
      expected: 'one folder a class',
      remedy: `sort the photos into ${join(dir, base, 'train')}/CLASS/`,
    });
  const labels = new Map(wnids.map((wnid, label) => [wnid, label]));
  const names = await ClassNames.read(tables);

  // All that is cheap to check comes before the walk through train, which takes minutes on a cold disk.
  const valFolders = foldersOf(valEntries);
  for (const name of valFolders) if (!labels.has(name)) throw unknownClass(name);
  const flat = valFolders.length > 0 ? [] : valEntries;
  const flatPhotos = flat.map(({ name }) => ({ name, file: `${base}val/${name}`, offset: 0, bytes: -1 }));
  const flatVal = flat.length === 0 ? [] : labelFlatVal(flatPhotos, await readValLabels(tables), labels);

  const walk = new ClassWalk(dir, base, listing);
  walk.strays('train', trainEntries);
  for (const [label, wnid] of listing.wants('train') ? wnids.entries() : []) {
    if ((await walk.list('train', wnid, label)) > 0) continue;
    throw new Fault({
      code: 'empty-class',
      received: `no file in ${join(dir, base, 'train', wnid)}`,
      expected: 'at least one photo in each class folder of train/',
      remedy: 'add photos or remove the folder',
    });
  }
  for (const entry of flatVal) listing.add('val', entry);
  if (valFolders.length > 0) walk.strays('val', valEntries);
  for (const name of valFolders) await walk.list('val', name, labels.get(name) as number);
  return names.entries(wnids);
}

function foldersOf(entries: readonly FolderEntry[]): string[] {
  return entries.filter(({ folder }) => folder).map(({ name }) => name);
}

/** Where there is no train: the folders of val, and of a flat val the classes of ImageNet. */
async function classesOfVal(entries: readonly FolderEntry[]): Promise<string[]> {
  const folders = foldersOf(entries);
  return folders.length > 0 ? folders : (await imageNetClasses()).map(({ wnid }) => wnid);
}

/** Hands over the files of class folders. */
class ClassWalk {
  readonly #dir: string;
  readonly #base: string;
  readonly #listing: Listing;

  constructor(dir: string, base: string, listing: Listing) {
    this.#dir = dir;
    this.#base = base;
    this.#listing = listing;
  }

  /** The number of files of a class folder and of the folders in it (some data sets have CLASS/images/). */
  async list(split: Split, wnid: string, label: number): Promise<number> {
    let files = 0;
    const add = (path: string): void => {
      files++;
      this.#listing.add(split, { path, label, file: `${this.#base}${path}`, offset: 0, bytes: -1 });
    };
    const folder = `${split}/${wnid}`;
    for (const entry of await this.#entries(folder)) {
      const path = `${folder}/${entry.name}`;
      if (!entry.folder) add(path);
      else
        for (const inner of await this.#entries(path)) {
          if (inner.folder) throw tooDeep(`${path}/${inner.name}`, folder);
          add(`${path}/${inner.name}`);
        }
    }
    return files;
  }

  strays(split: Split, entries: readonly FolderEntry[]): void {
    for (const { name, folder } of entries) if (!folder) this.#listing.stray(`${this.#base}${split}/${name}`);
  }

  #entries(path: string): Promise<FolderEntry[]> {
    return entriesOf(join(this.#dir, this.#base, path));
  }
}

async function splitEntries(dir: string, base: string, split: Split): Promise<FolderEntry[]> {
  const folder = join(dir, base, split);
  if (await isFolder(folder)) return entriesOf(folder);
  throw new Fault({
    code: 'no-split',
    received: `no folder ${folder}`,
    expected: `${join(dir, base, 'train')} and ${join(dir, base, 'val')} with the photos`,
    remedy: `make ${split}/, or give another --source`,
  });
}

function unknownClass(wnid: string): Fault {
  return new Fault({
    code: 'unknown-class',
    received: `val/${wnid} has no counterpart in train/`,
    expected: 'a class that train/ has',
    remedy: `name it as in train/, add train/${wnid}, or take it away`,
  });
}

/** Also of a class's tar: at most one folder below the class. */
export function tooDeep(path: string, folder: string): Fault {
  return new Fault({
    code: 'too-deep',
    received: `${path} lies two levels below the class`,
    expected: `photos in ${folder}/ or in folders directly in it`,
    remedy: `move them up, or out of the source`,
  });
}
