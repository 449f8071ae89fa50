// The classes of a flat val folder (ILSVRC2012_val_00000001.JPEG …), whose names do not say them.
//
//   LOC_val_solution.csv                       := "ImageId,PredictionString" line*      line := ImageId "," WNID " " boxes
//   ILSVRC2012_validation_ground_truth.txt     := line*      the i-th line: the ILSVRC2012_ID of ILSVRC2012_val_%08d(i)

import { Fault } from '../errors.ts';
import { firstText, imageNetClasses } from './class-names.ts';
import { isFile, unreadable } from './folder-entries.ts';
import { compareText, type SourceEntry } from './listing.ts';

const SOLUTION = 'LOC_val_solution.csv';
const GROUND_TRUTH = 'ILSVRC2012_validation_ground_truth.txt';
const DEVKIT = 'ILSVRC2012_devkit_t12';
/** All that is looked for, as a person reads it. */
const PLACES = `${SOLUTION}, ${GROUND_TRUTH}, ${DEVKIT}/data/${GROUND_TRUTH} or ${DEVKIT}.tar.gz`;
/** The ground truth has 195 kB. */
const MAX_GROUND_TRUTH_BYTES = 16 << 20;

export interface ValLabels {
  /** What they were read from. */
  readonly file: string;
  /** wnid by the file's name without its suffix. */
  readonly wnids: ReadonlyMap<string, string>;
}

export type FlatPhoto = Pick<SourceEntry, 'file' | 'offset' | 'bytes'> & { readonly name: string };

/**
 * The first table that one of the folders has.
 * @throws Fault `no-val-labels`, `bad-val-labels`, `source-unreadable`
 */
export async function readValLabels(folders: readonly string[]): Promise<ValLabels> {
  const solution = await firstText(folders, SOLUTION);
  if (solution !== null) return parseSolution(solution.path, solution.text);
  const truth =
    (await firstText(folders, GROUND_TRUTH)) ?? (await firstText(folders, `${DEVKIT}/data/${GROUND_TRUTH}`));
  if (truth !== null) return parseGroundTruth(truth.path, truth.text);
  for (const folder of folders) {
    const path = `${folder}/${DEVKIT}.tar.gz`;
    if (await isFile(path)) return parseGroundTruth(path, await readDevkit(path));
  }
  throw new Fault({
    code: 'no-val-labels',
    received: `a flat val, and no table of its classes in ${folders.join(', ')}`,
    expected: PLACES,
    remedy: 'put one of them there, or sort the photos into val/CLASS/',
  });
}

/**
 * Gives each photo its class; sorted by class, then name.
 * @param labels index of a class by its wnid: the classes of train
 * @throws Fault `val-without-label`, `val-without-file`, `unknown-class`, `duplicate-photo`
 */
export function labelFlatVal(
  photos: readonly FlatPhoto[],
  { file: table, wnids }: ValLabels,
  labels: ReadonlyMap<string, number>,
): SourceEntry[] {
  const seen = new Set<string>();
  const entries = photos.map(({ name, file, offset, bytes }): SourceEntry => {
    const stem = name.replace(/\.[^.]*$/, '');
    const wnid = wnids.get(stem);
    if (wnid === undefined)
      throw new Fault({
        code: 'val-without-label',
        received: `${file}${bytes < 0 ? '' : `: ${name}`}, of which ${table} says nothing`,
        expected: 'a class for every file of val',
        remedy: 'take the file away or complete the table',
      });
    const label = labels.get(wnid);
    if (label === undefined)
      throw new Fault({
        code: 'unknown-class',
        received: `${name} is of ${wnid} by ${table}, and train has no such class`,
        expected: 'a class that train has',
        remedy: 'complete train, or take the photo out of val and the table',
      });
    if (seen.has(stem))
      throw new Fault({
        code: 'duplicate-photo',
        received: `${name} and another file of that name in ${file}`,
        expected: 'one file a row of the table',
        remedy: 'remove one of them',
      });
    seen.add(stem);
    return { path: `val/${wnid}/${name}`, label, file, offset, bytes };
  });
  const missing = [...wnids.keys()].filter((stem) => !seen.has(stem));
  if (missing.length > 0)
    throw new Fault({
      code: 'val-without-file',
      received: `${missing.length} of ${wnids.size} photos of ${table} are not there, ${missing[0]} first`,
      expected: 'a file for every row',
      remedy: 'complete val (a broken download?), or shorten the table if you mean to use a part',
    });
  return entries.sort((a, b) => a.label - b.label || compareText(a.path, b.path));
}

function parseSolution(file: string, text: string): ValLabels {
  const [head = '', ...lines] = text.trimEnd().split(/\r?\n/);
  if (head !== 'ImageId,PredictionString') throw badLabels(file, 1, head, `'ImageId,PredictionString'`);
  const wnids = new Map<string, string>();
  for (const [i, line] of lines.entries()) {
    const [, stem, wnid] = /^([^,\s]+),([^,\s]+)(?:\s.*)?$/.exec(line) ?? [];
    if (stem === undefined || wnid === undefined)
      throw badLabels(file, i + 2, line, `'NAME,WNID x1 y1 x2 y2' as Kaggle has it`);
    if (wnids.has(stem)) throw badLabels(file, i + 2, line, `one row a photo: ${stem} has another`);
    wnids.set(stem, wnid);
  }
  return { file, wnids };
}

async function parseGroundTruth(file: string, text: string): Promise<ValLabels> {
  const byId = new Map((await imageNetClasses()).map(({ id, wnid }) => [String(id), wnid]));
  const wnids = new Map<string, string>();
  for (const [i, line] of text.trimEnd().split(/\r?\n/).entries()) {
    const wnid = byId.get(line.trim());
    if (wnid === undefined) throw badLabels(file, i + 1, line, 'an ILSVRC2012_ID, 1 to 1000');
    wnids.set(`ILSVRC2012_val_${String(i + 1).padStart(8, '0')}`, wnid);
  }
  return { file, wnids };
}

async function readDevkit(path: string): Promise<string> {
  const { list } = await import('tar/list');
  const found: Promise<Buffer>[] = [];
  try {
    await list({
      file: path,
      strict: true,
      onReadEntry: (entry) => {
        const wanted = entry.path.endsWith(`data/${GROUND_TRUTH}`) && entry.size <= MAX_GROUND_TRUTH_BYTES;
        if (wanted) found.push(entry.concat());
      },
    });
    const [bytes] = await Promise.all(found);
    if (bytes !== undefined) return bytes.toString('utf8');
  } catch (cause) {
    throw unreadable(path, cause);
  }
  throw new Fault({
    code: 'no-val-labels',
    received: `${path} without data/${GROUND_TRUTH}`,
    expected: "ImageNet's development kit of 2012, tasks 1 and 2",
    remedy: `download it again, or put ${GROUND_TRUTH} beside it`,
  });
}

function badLabels(file: string, line: number, received: string, expected: string): Fault {
  return new Fault({
    code: 'bad-val-labels',
    received: `${file}, line ${line}: '${received.slice(0, 80)}'`,
    expected,
    remedy: 'take the file as it was published',
  });
}
