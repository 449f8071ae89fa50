// Which class each label of a WebDataset is, found out sample by sample, and whether that can be: one class a label, and
// labels in the order of the classes' names, as every other layout numbers them.

import { Fault } from '../errors.ts';

/** Names of classes that are only numbers have so many digits, so that they sort as the numbers do. */
const DIGITS = 5;
const MAX_LABEL = 10 ** DIGITS - 1;

export class LabelBook {
  /** The wnids of `classes.tsv`, by label: for samples that do not say theirs. */
  readonly #rows: readonly string[] | null;
  /** Labels met so far, ascending, and their classes: both grow together. */
  readonly #labels: number[] = [];
  readonly #wnids: string[] = [];
  /** A sample named its class itself. */
  #named = false;
  /** All classes, once train is through. */
  #classes: readonly string[] | null = null;

  constructor(rows: readonly string[] | null) {
    this.#rows = rows;
  }

  /**
   * The class of a sample.
   * @param wnid what the sample says itself
   * @param sample where it is, for the error
   * @throws Fault `bad-label`, `unknown-class`, `label-conflict`, `label-order`
   */
  classOf(label: number, wnid: string | undefined, sample: string): string {
    if (label > MAX_LABEL)
      throw new Fault({
        code: 'bad-label',
        received: `${sample}: label ${label}`,
        expected: `at most ${MAX_LABEL}`,
        remedy: 'number the classes from 0 without gaps',
      });
    if (this.#classes !== null && label >= this.#classes.length)
      throw unknown(label, sample, 'train has no such label');
    if (wnid !== undefined) this.#named = true;
    const at = this.#place(label);
    const known = this.#labels[at] === label ? this.#wnids[at] : undefined;
    if (known !== undefined && (wnid ?? known) === known) return known;
    if (known !== undefined)
      throw new Fault({
        code: 'label-conflict',
        received: `${sample}: label ${label} is class ${wnid}, and of another sample ${known}`,
        expected: 'one class a label',
        remedy: 'mend the shards; the labels of several data sets may be mixed',
      });
    const found = wnid ?? this.#fallback(label, sample);
    this.#insert(at, label, found, sample);
    return found;
  }

  /**
   * Ends train: the classes by label. With `classes.tsv` these are its rows, whether or not they have samples.
   * @returns how many of them have no sample in train
   * @throws Fault `no-classes`, `missing-class`, `label-order`
   */
  endTrain(): { readonly wnids: readonly string[]; readonly empty: number } {
    const met = this.#labels.length;
    const highest = this.#labels.at(-1);
    if (highest === undefined)
      throw new Fault({
        code: 'no-classes',
        received: 'no sample in the shards of train',
        expected: 'images with labels',
        remedy: 'give the folder of the shards as --source',
      });
    const count = Math.max(highest + 1, this.#named ? 0 : (this.#rows?.length ?? 0));
    for (let label = 0; label < count; label++) {
      const at = this.#place(label);
      if (this.#labels[at] === label) continue;
      const place = `label ${label}, which no sample of train has`;
      if (this.#named && this.#rows?.[label] === undefined)
        throw new Fault({
          code: 'missing-class',
          received: `no sample of label ${label} in train, and labels up to ${highest}`,
          expected: 'every label from 0, or a classes.tsv that says which class it is',
          remedy: 'fetch the missing shards, or put a classes.tsv with a row a label beside them',
        });
      this.#insert(at, label, this.#fallback(label, place), place);
    }
    this.#classes = [...this.#wnids];
    return { wnids: this.#classes, empty: count - met };
  }

  #fallback(label: number, sample: string): string {
    if (this.#rows === null) return String(label).padStart(DIGITS, '0');
    const row = this.#rows[label];
    if (row !== undefined) return row;
    throw unknown(label, sample, `classes.tsv has ${this.#rows.length} rows, the first for label 0`);
  }

  #insert(at: number, label: number, wnid: string, sample: string): void {
    const before = this.#wnids[at - 1];
    const after = this.#wnids[at];
    if ((before !== undefined && before >= wnid) || (after !== undefined && after <= wnid)) {
      const [neighbour, other] =
        before !== undefined && before >= wnid ? [this.#labels[at - 1], before] : [this.#labels[at], after];
      throw new Fault({
        code: 'label-order',
        received: `${sample}: label ${label} is class ${wnid}, and label ${neighbour} is ${other}`,
        expected: 'labels in the order of the sorted classes, each class once',
        remedy: 'renumber the shards, or unpack them into class folders',
      });
    }
    this.#labels.splice(at, 0, label);
    this.#wnids.splice(at, 0, wnid);
  }

  /** Where the label is, or belongs. */
  #place(label: number): number {
    let low = 0;
    let high = this.#labels.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#labels[middle] as number) < label) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function unknown(label: number, sample: string, why: string): Fault {
  return new Fault({
    code: 'unknown-class',
    received: `${sample}: label ${label}; ${why}`,
    expected: 'a label of a class that is known',
    remedy: 'complete train or classes.tsv, or take the sample out',
  });
}
