// Lists the sources into a catalogue, on a thread of its own: what a million names leave behind goes with its heap.

import { Fault, type FaultDetails, SPLITS, type Split } from '#shards';
import { CatalogueWriter, type SourceList } from './catalogue.ts';
import { type ScanResult, scanSource } from './sources/source.ts';

export interface ListTask {
  /** The source folder. */
  readonly source: string;
  /** The folder for the catalogue. */
  readonly catalogue: string;
}

export interface Listed {
  readonly scanned: ScanResult;
  readonly sources: Readonly<Record<Split, SourceList>>;
}

/** Failures are values: a class would not survive the way. */
export type ListResult = ({ readonly ok: true } & Listed) | { readonly ok: false; readonly fault: FaultDetails };

export default async function list({ source, catalogue }: ListTask): Promise<ListResult> {
  const writers = { train: new CatalogueWriter(catalogue, 'train'), val: new CatalogueWriter(catalogue, 'val') };
  try {
    const scanned = await scanSource(source, (split, entry) => writers[split].add(entry));
    return { ok: true, scanned, sources: { train: writers.train.finish(), val: writers.val.finish() } };
  } catch (error) {
    if (error instanceof Fault) return { ok: false, fault: error.toJSON() };
    throw error;
  } finally {
    for (const split of SPLITS) writers[split].close();
  }
}
