// Lists the sources into a catalogue, on a thread of its own: what a million names leave behind goes with its heap.

import { Fault, type FaultDetails, loadScanSource, type ScanResult, SPLITS, type Split } from '#shards';
import { CatalogueWriter, type SourceList } from './catalogue.ts';
import { stopped, Tally } from './tally.ts';
import { asWriteFault } from './write-fault.ts';

export interface ListTask {
  /** The source folder. */
  readonly source: string;
  /** The folder for the catalogue. */
  readonly catalogue: string;
  /** Ends the listing when it stops group 0. */
  readonly tally: SharedArrayBuffer;
}

export interface Listed {
  readonly scanned: ScanResult;
  readonly sources: Readonly<Record<Split, SourceList>>;
}

/** Failures are values: a class would not survive the way. */
export type ListResult = ({ readonly ok: true } & Listed) | { readonly ok: false; readonly fault: FaultDetails };

export default async function list({ source, catalogue, tally: memory }: ListTask): Promise<ListResult> {
  const tally = new Tally(memory);
  const writers = { train: new CatalogueWriter(catalogue, 'train'), val: new CatalogueWriter(catalogue, 'val') };
  try {
    const scanSource = await loadScanSource();
    const scanned = await scanSource(source, (split, entry) => {
      if (tally.stops(0)) throw stopped();
      writers[split].add(entry);
    });
    return { ok: true, scanned, sources: { train: writers.train.finish(), val: writers.val.finish() } };
  } catch (error) {
    const fault = asWriteFault(error, catalogue);
    if (fault instanceof Fault) return { ok: false, fault: fault.toJSON() };
    throw fault;
  } finally {
    for (const split of SPLITS) writers[split].close();
  }
}
