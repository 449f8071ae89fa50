// A sum whose order of additions depends only on the number of terms: a binary tree, built like a binary counter.

import { type NamedTensors, named, type TensorLibrary } from './backend/kernels.ts';

/**
 * Adds named tensors term by term: ((t0 + t1) + (t2 + t3)) + …, so that trainers that each own an aligned block of
 * groups can add up their blocks and get the same bits. Holds at most log2(terms) + 1 partial sums.
 */
export class TreeSum {
  readonly #tf: TensorLibrary;
  /** Partial sums and how many terms each holds: strictly decreasing powers of two. */
  readonly #partials: { terms: number; sum: NamedTensors }[] = [];

  constructor(tf: TensorLibrary) {
    this.#tf = tf;
  }

  /** Takes the tensors over: they are freed once they were added. */
  push(term: NamedTensors): void {
    let entry = { terms: 1, sum: term };
    for (;;) {
      const top = this.#partials.at(-1);
      if (top?.terms !== entry.terms) break;
      this.#partials.pop();
      entry = { terms: 2 * entry.terms, sum: this.#add(top.sum, entry.sum) };
    }
    this.#partials.push(entry);
  }

  /** The sum over all terms, the caller's from now on; what does not fill the tree is added from the right. */
  take(): NamedTensors {
    let sum = this.#partials.pop()?.sum;
    for (let left = this.#partials.pop(); sum && left; left = this.#partials.pop()) sum = this.#add(left.sum, sum);
    if (!sum) throw new Error('a sum of no terms');
    return sum;
  }

  #add(left: NamedTensors, right: NamedTensors): NamedTensors {
    const out: NamedTensors = {};
    for (const name of Object.keys(left)) {
      const [a, b] = [named(left, name), named(right, name)];
      out[name] = this.#tf.add(a, b);
      a.dispose();
      b.dispose();
    }
    return out;
  }
}
