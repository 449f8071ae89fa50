// ImageNet as it was published: a tar of a tar for each class, a flat tar of val, and the development kit.

import { join } from 'node:path';
import { Fault } from '../errors.ts';
import type { ClassEntry } from '../manifest.ts';
import { ClassNames } from './class-names.ts';
import { isFile } from './folder-entries.ts';
import { tooDeep } from './folders.ts';
import { compareText, type Listing, type SourceEntry, sortKey } from './listing.ts';
import { TarFile, type TarMember } from './tar-file.ts';
import { labelFlatVal, readValLabels } from './val-labels.ts';

export const TRAIN_TAR = 'ILSVRC2012_img_train.tar';
export const VAL_TAR = 'ILSVRC2012_img_val.tar';

/**
 * Lists both tars without unpacking: a source is a range of them. Memory holds the listing of val and of one class.
 * @throws Fault `no-split`, `no-classes`, `empty-class`, `duplicate-photo`, `too-deep`, `tar-…`, and of the tables
 */
export async function listOriginalTars(dir: string, listing: Listing): Promise<ClassEntry[]> {
  for (const name of [TRAIN_TAR, VAL_TAR]) if (!(await isFile(join(dir, name)))) throw missing(dir, name);
  const names = await ClassNames.read([dir]);
  const valLabels = await readValLabels([dir]);
  const train = new TarFile(join(dir, TRAIN_TAR));
  const val = new TarFile(join(dir, VAL_TAR));
  try {
    const classes = await classTars(train, listing);
    const labels = new Map(classes.map(({ wnid }, label) => [wnid, label]));
    const photos = [];
    for await (const { name, offset, bytes } of val.members())
      if (!isHidden(name)) photos.push({ name: name.replace(/^val\//, ''), file: VAL_TAR, offset, bytes });
    const valEntries = labelFlatVal(photos, valLabels, labels);
    for (const [label, { wnid, tar }] of listing.wants('train') ? classes.entries() : [])
      for (const entry of await listClass(train, tar, wnid, label)) listing.add('train', entry);
    for (const entry of valEntries) listing.add('val', entry);
    return names.entries(classes.map(({ wnid }) => wnid));
  } finally {
    train.close();
    val.close();
  }
}

interface ClassTar {
  readonly wnid: string;
  readonly tar: TarMember;
}

/** The tars in the tar, sorted by class. */
async function classTars(train: TarFile, listing: Listing): Promise<ClassTar[]> {
  const classes: ClassTar[] = [];
  for await (const member of train.members()) {
    const wnid = /^(?:train\/)?([^/.][^/]*)\.tar$/.exec(member.name)?.[1];
    if (wnid !== undefined) classes.push({ wnid, tar: member });
    else if (!isHidden(member.name)) listing.stray(`${TRAIN_TAR}/${member.name}`);
  }
  if (classes.length === 0)
    throw new Fault({
      code: 'no-classes',
      received: `${train.path} holds no tar`,
      expected: 'WNID.tar for each class, as ImageNet published it',
      remedy: 'fetch it again; photos that are sorted into folders are understood unpacked',
    });
  classes.sort((a, b) => compareText(a.wnid, b.wnid));
  for (const [i, { wnid, tar }] of classes.entries())
    if (wnid === classes[i - 1]?.wnid) throw duplicate(train, tar, `a second tar of class ${wnid}`);
  return classes;
}

/** One class's photos, sorted. */
async function listClass(train: TarFile, tar: TarMember, wnid: string, label: number): Promise<SourceEntry[]> {
  const folder = `train/${wnid}`;
  const found: { key: string; entry: SourceEntry; member: TarMember }[] = [];
  for await (const member of train.members(tar)) {
    if (isHidden(member.name)) continue;
    const path = `${folder}/${member.name.startsWith(`${wnid}/`) ? member.name.slice(wnid.length + 1) : member.name}`;
    if (path.split('/').length > 4) throw tooDeep(`${TRAIN_TAR}/${tar.name}/${member.name}`, folder);
    const { offset, bytes } = member;
    found.push({ key: sortKey(path), entry: { path, label, file: TRAIN_TAR, offset, bytes }, member });
  }
  if (found.length === 0)
    throw new Fault({
      code: 'empty-class',
      received: `no file in ${tar.name} of ${train.path}`,
      expected: 'at least one photo in each class',
      remedy: 'fetch the tar again',
    });
  found.sort((a, b) => compareText(a.key, b.key));
  for (const [i, { key, entry, member }] of found.entries())
    if (key === found[i - 1]?.key) throw duplicate(train, member, `a second ${entry.path}`);
  return found.map(({ entry }) => entry);
}

/** As in folders: what macOS and editors leave behind. */
function isHidden(name: string): boolean {
  return name.split('/').some((part) => part.startsWith('.'));
}

function duplicate(tar: TarFile, member: TarMember, received: string): Fault {
  return new Fault({
    code: 'duplicate-photo',
    received: `${tar.path} at byte ${member.header}: ${received}`,
    expected: 'each name once',
    remedy: 'fetch the tar again, or write it anew',
  });
}

function missing(dir: string, name: string): Fault {
  return new Fault({
    code: 'no-split',
    received: `no file ${join(dir, name)}`,
    expected: `${TRAIN_TAR} and ${VAL_TAR} in one folder`,
    remedy: 'put both there, or give another --source',
  });
}
