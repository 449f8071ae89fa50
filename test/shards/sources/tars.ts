// Tars as others write them, and one small data set in every layout.

import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Header, type HeaderData } from 'tar/header';
import { pack, type Header as StreamHeader } from 'tar-stream';
import { Fault, type Split } from '#shards';
import type { ScanResult, SourceEntry } from '../../../shards/sources/listing.ts';
import { scanSource } from '../../../shards/sources/source.ts';
import type { Files } from '../../preprocess/photos.ts';

export interface TarEntry {
  readonly name: string;
  readonly data?: string | Uint8Array;
  readonly type?: StreamHeader['type'];
  /** PAX records: Python's tarfile writes one for every mtime that is no integer. */
  readonly pax?: Readonly<Record<string, string>>;
}

/** As `tar c` or Python's tarfile would write it. */
export async function tarOf(entries: readonly TarEntry[]): Promise<Buffer> {
  const archive = pack();
  for (const { name, data = '', type = 'file', pax } of entries) {
    const header = { name, type, mtime: new Date(1.5e12), ...(pax && { pax }) };
    archive.entry(header, Buffer.from(data as string));
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export const filesTar = (files: Files): Promise<Buffer> =>
  tarOf(Object.entries(files).map(([name, data]) => ({ name, data })));

/** One header block, of any type and size. */
export function headerBlock(data: HeaderData): Buffer {
  const block = Buffer.alloc(512);
  new Header({ mode: 0o644, uid: 0, gid: 0, mtime: new Date(0), ...data }).encode(block);
  return block;
}

export const END = Buffer.alloc(1024);

/** Payload, filled up to whole blocks. */
export function blocks(data: string): Buffer {
  const bytes = Buffer.from(data);
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

export interface Scanned extends ScanResult {
  readonly sources: readonly (SourceEntry & { readonly split: Split })[];
}

export async function scanned(dir: string): Promise<Scanned> {
  const sources: (SourceEntry & { split: Split })[] = [];
  const result = await scanSource(dir, (split, entry) => sources.push({ split, ...entry }));
  return { ...result, sources };
}

/** Path, label and bytes of each source, as they are read from where they are said to be. */
export async function photosOf(dir: string): Promise<[path: string, label: number, photo: string][]> {
  const { sources } = await scanned(dir);
  return Promise.all(
    sources.map(async ({ path, label, file, offset, bytes }) => {
      const whole = await readFile(join(dir, file));
      return [path, label, whole.toString('utf8', offset, bytes < 0 ? whole.length : offset + bytes)] as const;
    }),
  ) as Promise<[string, number, string][]>;
}

export const fault =
  (code: string, ...texts: string[]) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.code === code && texts.every((text) => error.message.includes(text));

/** Of ImageNet's classes 449, 450 and 442 by ILSVRC2012_ID, which are 0, 1 and 2 by wnid. Not in sorted order. */
export const TRAIN: Files = {
  'n01443537/n01443537_7.JPEG': 'goldfish 7',
  'n01440764/n01440764_9.JPEG': 'tench 9',
  'n01440764/n01440764_10.JPEG': 'tench 10',
  'n01440764/n01440764-b.JPEG': 'tench b',
  'n01484850/n01484850_1.JPEG': 'shark 1',
};
export const VAL: Files = {
  'ILSVRC2012_val_00000003.JPEG': 'a tench',
  'ILSVRC2012_val_00000001.JPEG': 'a shark',
  'ILSVRC2012_val_00000002.JPEG': 'another tench',
};
export const VAL_WNIDS = ['n01484850', 'n01440764', 'n01440764'];
export const GROUND_TRUTH = '442\n449\n449\n';
export const SOLUTION = `ImageId,PredictionString
ILSVRC2012_val_00000002,n01440764 240 170 260 240 
ILSVRC2012_val_00000001,n01484850 85 1 499 272 131 0 499 254
ILSVRC2012_val_00000003,n01440764 1 2 3 4
`;

export interface Photos {
  readonly train: Files;
  readonly val: Files;
}

/** Where the contents do not matter. */
const WORDS: Photos = { train: TRAIN, val: VAL };

const prefixed = (prefix: string, files: Files): Files =>
  Object.fromEntries(Object.entries(files).map(([path, data]) => [`${prefix}${path}`, data]));

export const classFolders = ({ train, val }: Photos = WORDS): Files => ({
  ...prefixed('train/', train),
  ...Object.fromEntries(
    Object.entries(val).map(([name, data]) => [`val/${VAL_WNIDS[Number(name.slice(-6, -5)) - 1]}/${name}`, data]),
  ),
});

export const kaggle = ({ train, val }: Photos = WORDS): Files => ({
  ...prefixed('ILSVRC/Data/CLS-LOC/train/', train),
  ...prefixed('ILSVRC/Data/CLS-LOC/val/', val),
  'ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG': 'of no known class',
  'LOC_val_solution.csv': SOLUTION,
});

/** One tar a class, in the order of the files. */
export async function trainTar(train: Files = TRAIN): Promise<Buffer> {
  const wnids = [...new Set(Object.keys(train).map((path) => dirname(path)))];
  const classes: [string, Buffer][] = [];
  for (const wnid of wnids) {
    const photos = Object.entries(train).filter(([path]) => dirname(path) === wnid);
    classes.push([`${wnid}.tar`, await filesTar(Object.fromEntries(photos.map(([p, data]) => [p.slice(10), data])))]);
  }
  return filesTar(Object.fromEntries(classes));
}

export const originalTars = async ({ train, val }: Photos = WORDS): Promise<Files> => ({
  'ILSVRC2012_img_train.tar': await trainTar(train),
  'ILSVRC2012_img_val.tar': await filesTar(val),
  'ILSVRC2012_devkit_t12.tar.gz': gzipSync(
    await filesTar({
      'ILSVRC2012_devkit_t12/readme.txt': 'x'.repeat(1000),
      'ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt': GROUND_TRUTH,
    }),
  ),
});

/** Sorted, so that its order is that of the other layouts. */
export async function webDataset(): Promise<Files> {
  const sample = (path: string, wnid: string, data: string | Uint8Array): [string, string | Uint8Array][] => {
    const stem = path.replace('.JPEG', '');
    const label = ['n01440764', 'n01443537', 'n01484850'].indexOf(wnid);
    return [
      [path, data],
      [`${stem}.json`, JSON.stringify({ label, wnid, filename: path })],
    ];
  };
  const train = Object.entries(TRAIN).sort(([a], [b]) => (a < b ? -1 : 1));
  const val = Object.entries(classFolders()).filter(([path]) => path.startsWith('val/'));
  val.sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    'x-train-0000.tar': await filesTar(
      Object.fromEntries(train.flatMap(([path, data]) => sample(path, dirname(path), data))),
    ),
    'x-validation-0000.tar': await filesTar(
      Object.fromEntries(val.flatMap(([path, data]) => sample(path, path.split('/')[1] as string, data))),
    ),
  };
}
