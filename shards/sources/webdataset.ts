// WebDataset shards that others wrote: KEY.jpg beside KEY.cls or KEY.json, in tars named after their split.
//
//   sample := member+          next to each other, of one KEY; a key ends at the first dot of the last path component
//   member := image | label | anything else, ignored            image: jpg, jpeg, png, webp
//   label  := cls: an ASCII integer | json: {label | cls | class: integer, wnid | synset: text}

import { join } from 'node:path';
import { z } from 'zod';
import { Fault } from '../errors.ts';
import type { ClassEntry } from '../manifest.ts';
import { SPLITS, type Split } from '../sample.ts';
import { ClassNames } from './class-names.ts';
import { entriesOf, isFolder } from './folder-entries.ts';
import { LabelBook } from './label-book.ts';
import type { Listing } from './listing.ts';
import { TarFile, type TarMember } from './tar-file.ts';

export interface WebDatasetShard {
  /** From the source folder, with '/'. */
  readonly file: string;
  /** Null: the name says neither train nor val. */
  readonly split: Split | null;
}

/** Of a path's parts between everything but letters and digits. */
const SPLIT_WORDS: Readonly<Record<string, Split>> = { train: 'train', val: 'val', validation: 'val' };
const IMAGES = new Set(['jpg', 'jpeg', 'png', 'webp']);
const MAX_LABEL_BYTES = { cls: 64, json: 1 << 20 } as const;

/** The tars of the folder and of train/, val/ and validation/ in it, sorted; the file's name counts before the folder's. */
export async function webDatasetShards(dir: string): Promise<WebDatasetShard[]> {
  const shards: WebDatasetShard[] = [];
  for (const folder of ['', 'train', 'val', 'validation']) {
    if (!(await isFolder(join(dir, folder)))) continue;
    for (const { name, folder: nested } of await entriesOf(join(dir, folder)))
      if (!nested && name.endsWith('.tar'))
        shards.push({ file: join(folder, name).replaceAll('\\', '/'), split: splitOf(name) ?? splitOf(folder) });
  }
  return shards;
}

function splitOf(name: string): Split | null {
  const words = new Set(
    name
      .toLowerCase()
      .split(/[^a-z0-9]+/)
      .flatMap((word) => SPLIT_WORDS[word] ?? []),
  );
  return words.size === 1 ? ([...words][0] as Split) : null;
}

/**
 * Lists the samples in the order of the shards' names, and of a shard in its own: sorted by class they would all have to
 * be in memory. Of the members only labels are read.
 * @throws Fault `no-split`, `bad-label`, `duplicate-suffix`, `incomplete-sample`, `tar-…`, and of `LabelBook`
 */
export async function listWebDataset(
  dir: string,
  shards: readonly WebDatasetShard[],
  listing: Listing,
): Promise<ClassEntry[]> {
  for (const split of SPLITS)
    if (!shards.some((shard) => shard.split === split))
      throw new Fault({
        code: 'no-split',
        received: `no shard of ${split} in ${dir}`,
        expected: 'tars with train, val or validation as a word in their name or folder',
        remedy: `add or rename the shards of ${split}`,
      });
  for (const { file, split } of shards) if (split === null) listing.stray(file);
  const names = await ClassNames.read([dir]);
  const book = new LabelBook(names.rows);
  await listSplit(dir, shards, 'train', book, listing);
  const { wnids, empty } = book.endTrain();
  if (empty > 0) listing.notices.push(`${empty} of ${wnids.length} classes have no sample in train`);
  await listSplit(dir, shards, 'val', book, listing);
  return names.entries(wnids);
}

async function listSplit(
  dir: string,
  shards: readonly WebDatasetShard[],
  split: Split,
  book: LabelBook,
  listing: Listing,
): Promise<void> {
  for (const shard of shards) {
    if (shard.split !== split) continue;
    const tar = new TarFile(join(dir, shard.file));
    try {
      for await (const sample of samplesOf(tar, (name) => listing.stray(`${shard.file}/${name}`))) {
        const { image, label, wnid, place, name } = readSample(tar, sample);
        const folder = book.classOf(label, wnid, place);
        const path = `${split}/${folder}/${withoutFolders(name, [split, folder])}`;
        listing.add(split, { path, label, file: shard.file, offset: image.offset, bytes: image.bytes });
      }
    } finally {
      tar.close();
    }
  }
}

interface RawSample {
  readonly key: string;
  /** By suffix in lower case. */
  readonly members: Map<string, TarMember>;
}

/** Groups members that stand next to each other by key. */
async function* samplesOf(tar: TarFile, onStray: (name: string) => void): AsyncGenerator<RawSample> {
  let sample = null as RawSample | null;
  for await (const member of tar.members()) {
    const base = member.name.slice(member.name.lastIndexOf('/') + 1);
    // Metadata of the shard, and what macOS leaves behind.
    if (base.startsWith('__') || base.startsWith('.')) continue;
    const dot = base.indexOf('.');
    if (dot < 0) {
      onStray(member.name);
      continue;
    }
    const key = member.name.slice(0, member.name.length - base.length + dot);
    const suffix = base.slice(dot + 1).toLowerCase();
    if (sample?.key !== key) {
      if (sample !== null) yield sample;
      sample = { key, members: new Map() };
    }
    if (sample.members.has(suffix))
      throw new Fault({
        code: 'duplicate-suffix',
        received: `${tar.path}: a second '.${suffix}' of sample '${key}' at byte ${member.header}`,
        expected: 'each suffix once a sample',
        remedy: 'give every sample a key of its own; a key ends at the first dot',
      });
    sample.members.set(suffix, member);
  }
  if (sample !== null) yield sample;
}

interface Sample {
  readonly image: TarMember;
  readonly label: number;
  readonly wnid: string | undefined;
  /** The image's name in the tar. */
  readonly name: string;
  /** Shard, key and offset, for errors. */
  readonly place: string;
}

function readSample(tar: TarFile, { key, members }: RawSample): Sample {
  const first = members.values().next().value as TarMember;
  const place = `${tar.path}: sample '${key}' at byte ${first.header}`;
  const images = [...members].filter(([suffix]) => IMAGES.has(suffix));
  const [image] = images;
  if (image === undefined || images.length > 1)
    throw incomplete(place, `${images.length || 'no'} images (.${[...members.keys()].join(', .')})`);
  const cls = members.get('cls');
  const json = members.get('json');
  const stated = cls && parseLabel(readSmall(tar, cls, 'cls', place), place);
  const info = json && parseInfo(readSmall(tar, json, 'json', place), place);
  const label = stated ?? info?.label;
  if (label === undefined) throw incomplete(place, `no label (.${[...members.keys()].join(', .')})`);
  if (info?.label !== undefined && info.label !== label)
    throw badLabel(place, `label ${label} in .cls, ${info.label} in .json`, 'the same in both');
  return { image: image[1], label, wnid: info?.wnid, name: image[1].name, place };
}

function readSmall(tar: TarFile, member: TarMember, suffix: keyof typeof MAX_LABEL_BYTES, place: string): string {
  const limit = MAX_LABEL_BYTES[suffix];
  if (member.bytes > limit) throw badLabel(place, `a .${suffix} of ${member.bytes} bytes`, `at most ${limit}`);
  return tar.read(member).toString('utf8');
}

const integer = z.union([z.int().min(0), z.string().regex(/^\d+$/).transform(Number)]);
const className = z.string().regex(/^[^/\\\s.][^/\\\s]*$/);

function parseLabel(text: string, place: string): number {
  const label = integer.safeParse(text.trim());
  if (!label.success) throw badLabel(place, `'${text.slice(0, 40)}' in .cls`, 'an integer from 0');
  return label.data;
}

/** What is not of the expected form may mean something else ("class": "tench"), and is left alone. */
function parseInfo(text: string, place: string): { label: number | undefined; wnid: string | undefined } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw badLabel(place, `no JSON in .json (${(cause as Error).message})`, 'a JSON object');
  }
  const info = z.record(z.string(), z.unknown()).safeParse(parsed);
  if (!info.success) throw badLabel(place, `'${text.slice(0, 40)}' in .json`, 'a JSON object');
  const { label, cls, class: kind, wnid, synset } = info.data;
  return {
    label: [label, cls, kind].map((value) => integer.safeParse(value).data).find((value) => value !== undefined),
    wnid: [wnid, synset].map((value) => className.safeParse(value).data).find((value) => value !== undefined),
  };
}

/** Drops folders that the path names anyway, so that train/CLASS/photo.jpg is called as in class folders. */
function withoutFolders(name: string, named: readonly string[]): string {
  const parts = name.split('/');
  while (parts.length > 1 && named.includes(parts[0] as string)) parts.shift();
  return parts.join('/');
}

function badLabel(place: string, received: string, expected: string): Fault {
  return new Fault({
    code: 'bad-label',
    received: `${place}: ${received}`,
    expected,
    remedy: 'mend the shard, or unpack it into class folders',
  });
}

function incomplete(place: string, received: string): Fault {
  return new Fault({
    code: 'incomplete-sample',
    received: `${place} has ${received}`,
    expected: 'one image (jpg, jpeg, png, webp) and a label (cls or json), next to each other',
    remedy: 'write the shard anew with the files of a sample together',
  });
}
