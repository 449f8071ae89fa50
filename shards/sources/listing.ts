// What a layout hands over: sources one after another, and what it met besides.

import type { ClassEntry } from '../manifest.ts';
import type { Split } from '../sample.ts';

/** One photo: where its bytes are, and what it is called whatever holds it. */
export interface SourceEntry {
  /** SPLIT/WNID/NAME or SPLIT/WNID/SUB/NAME: the same for the same photo in every layout. */
  readonly path: string;
  /** Index of its class. */
  readonly label: number;
  /** The file that holds it, from the source folder, with '/'. */
  readonly file: string;
  /** Of its first byte in that file. */
  readonly offset: number;
  /** −1: the whole file. */
  readonly bytes: number;
}

export type LayoutName = 'class folders' | 'Kaggle' | 'ImageNet tars' | 'WebDataset';

export interface ScanResult {
  readonly layout: LayoutName;
  /** In the order of their index. */
  readonly classes: readonly ClassEntry[];
  /** Sources that were handed over. */
  readonly counts: Readonly<Record<Split, number>>;
  /** Files that are no source of any class: ignored, and told. `first` names at most `NAMED_STRAYS` of them. */
  readonly strays: { readonly count: number; readonly first: readonly string[] };
  /** What is out of the ordinary, a sentence each. */
  readonly notices: readonly string[];
}

export type AddSource = (split: Split, entry: SourceEntry) => void;

export const NAMED_STRAYS = 5;

/** Passes the sources on and counts them; it keeps none. */
export class Listing {
  readonly counts: Record<Split, number> = { train: 0, val: 0 };
  readonly strays = { count: 0, first: [] as string[] };
  readonly notices: string[] = [];
  readonly #add: AddSource;
  readonly #wanted: readonly Split[];

  constructor(add: AddSource, wanted: readonly Split[]) {
    this.#add = add;
    this.#wanted = wanted;
  }

  /** Whether anybody asks for the split; `add` passes on no other. */
  wants(split: Split): boolean {
    return this.#wanted.includes(split);
  }

  add(split: Split, entry: SourceEntry): void {
    if (!this.wants(split)) return;
    this.counts[split]++;
    this.#add(split, entry);
  }

  /** `path` from the source folder. */
  stray(path: string): void {
    if (this.strays.count++ < NAMED_STRAYS) this.strays.first.push(path);
  }
}

/** By code units, as `Array.sort` does without a comparison. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Compares as `path` does component by component: NUL is below every character of a name, '/' is not. */
export function sortKey(path: string): string {
  return path.replaceAll('/', '\0');
}
