// Finds out how the photos are laid out and lists them, every layout alike: the same photos give the same list.

import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Fault } from '../errors.ts';
import type { ClassEntry } from '../manifest.ts';
import { SPLITS, type Split } from '../sample.ts';
import { entriesOf, isFile, isFolder } from './folder-entries.ts';
import { listFolders } from './folders.ts';
import { type AddSource, type LayoutName, Listing, type ScanResult } from './listing.ts';
import { listOriginalTars, TRAIN_TAR, VAL_TAR } from './original-tars.ts';
import { listWebDataset, webDatasetShards } from './webdataset.ts';

/** What is understood, as a person reads it. */
const UNDERSTOOD = [
  'train/CLASS/… and val/CLASS/… (or a flat val with its table)',
  'ILSVRC/Data/CLS-LOC/{train,val} with LOC_val_solution.csv (Kaggle)',
  `${TRAIN_TAR} and ${VAL_TAR} with the development kit`,
  'WebDataset shards with train or val in their names',
].join('; ');

/** The folder in Kaggle's archive that holds train/, val/ and test/, as seen from --source. */
const KAGGLE_BASES = ['ILSVRC/Data/CLS-LOC/', 'Data/CLS-LOC/'];

/**
 * Calls `add` for every source: train first, then val, each sorted by class, then name (code units, component by
 * component); WebDataset in the order of its shards. Memory holds the listing of one folder or one class, and of val
 * where it is flat. Of `wanted` alone where the layout lets the other split be passed over: train's million names are a
 * walk of minutes on a cold disk, and its classes are known without it. A val that is wanted alone may be there alone:
 * its class folders, or for a flat one ImageNet's classes, are then the classes.
 * @throws Fault `no-source`, `unknown-layout`, `no-photos`, and those of the layout (see README.md)
 */
export async function scanSource(dir: string, add: AddSource, wanted: readonly Split[] = SPLITS): Promise<ScanResult> {
  await mustBeFolder(dir);
  const [layout, ...others] = await layoutsOf(dir);
  if (layout === undefined)
    throw new Fault({
      code: 'unknown-layout',
      received: `${dir} with ${
        (await entriesOf(dir))
          .map(({ name }) => name)
          .slice(0, 5)
          .join(', ') || 'nothing'
      }`,
      expected: UNDERSTOOD,
      remedy: 'give the folder that holds these as --source',
    });
  const listing = new Listing(add, wanted);
  if (others.length > 0) {
    const names = others.map(({ name }) => name).join(', ');
    listing.notices.push(`read as ${layout.name}; what else is there (${names}) is left out`);
  }
  const classes = await layout.list(listing);
  const { counts, strays, notices } = listing;
  for (const split of wanted)
    if (counts[split] === 0)
      throw new Fault({
        code: 'no-photos',
        received: `no photo in ${split} of ${dir}`,
        expected: 'photos for training and for the evaluation',
        remedy: `add some to ${split}`,
      });
  return { layout: layout.name, classes, counts, strays, notices };
}

interface Layout {
  readonly name: LayoutName;
  readonly list: (listing: Listing) => Promise<ClassEntry[]>;
}

/** Every layout that the folder fits, the one to read first: what is unpacked before what is not. */
async function layoutsOf(dir: string): Promise<Layout[]> {
  const layouts: Layout[] = [];
  for (const base of KAGGLE_BASES)
    if (await isFolder(resolve(dir, base, 'train')))
      layouts.push({ name: 'Kaggle', list: (listing) => listFolders({ dir, base, tables: tablesOf(dir) }, listing) });
  const unpacked = await unpackedSplits(dir);
  const kaggle = /[\\/]Data[\\/]CLS-LOC$/.test(resolve(dir));
  const folders: Layout = {
    name: kaggle ? 'Kaggle' : 'class folders',
    list: (listing) => listFolders({ dir, base: '', tables: tablesOf(dir) }, listing),
  };
  if (unpacked === SPLITS.length) layouts.push(folders);
  const published = [TRAIN_TAR, VAL_TAR];
  const found = await Promise.all(published.map((name) => isFile(resolve(dir, name))));
  if (found.includes(true)) layouts.push({ name: 'ImageNet tars', list: (listing) => listOriginalTars(dir, listing) });
  // Tars beside class folders are strays there; only those in the source folder itself are a layout of their own.
  const shards = (await webDatasetShards(dir)).filter(({ file }) => unpacked === 0 || !file.includes('/'));
  if (shards.some(({ file, split }) => split !== null && !published.includes(file)))
    layouts.push({ name: 'WebDataset', list: (listing) => listWebDataset(dir, shards, listing) });
  // One split alone is no data set: anything else goes before it, and without anything else the error says what is missing.
  if (unpacked === 1) layouts.push(folders);
  return layouts;
}

/** How many of train/ and val/ are there; 0 where they hold shards and no folder, as WebDataset has them. */
async function unpackedSplits(dir: string): Promise<number> {
  const folders = [];
  for (const split of SPLITS) if (await isFolder(resolve(dir, split))) folders.push(resolve(dir, split));
  const entries = (await Promise.all(folders.map(entriesOf))).flat();
  const shardsOnly = entries.some(({ name }) => name.endsWith('.tar')) && !entries.some(({ folder }) => folder);
  return shardsOnly ? 0 : folders.length;
}

/** Where the tables of names and labels may be: the folder itself, and above it as far as Kaggle's archive goes. */
function tablesOf(dir: string): string[] {
  const above = resolve(dir).split(/[\\/]/);
  const depth = above.at(-1) === 'ILSVRC' ? 1 : above.slice(-2).join('/') === 'Data/CLS-LOC' ? 3 : 0;
  return [dir, ...Array.from({ length: depth }, (_, i) => resolve(dir, ...Array<string>(i + 1).fill('..')))];
}

async function mustBeFolder(dir: string): Promise<void> {
  const found = await stat(dir).catch((error: NodeJS.ErrnoException) => error);
  if (!(found instanceof Error) && found.isDirectory()) return;
  throw new Fault({
    code: 'no-source',
    received: `${dir} ${found instanceof Error ? `cannot be read (${found.code})` : 'is not a folder'}`,
    expected: 'a folder with the photos',
    remedy: 'give it as --source',
  });
}
