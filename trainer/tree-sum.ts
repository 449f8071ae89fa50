// A sum whose order of additions depends only on the number of terms: a binary tree, built like a binary counter.

import { type NamedTensors, named, type TensorLibrary } from './backend/kernels.ts';

/**
 * Adds named tensors term by term: ((t0 + t1) + (t2 + t3)) + …. A part of the terms, from `first` on, is added up to
 * nodes of that same tree: trainers that each own some groups push their nodes, in order, and get the same bits. Holds
 * at most log2(terms) + 1 partial sums, of a part twice as many.
 */
export class TreeSum {
  readonly #tf: TensorLibrary;
  /** Partial sums, how many terms each holds (a power of two), and which is the first (a multiple of that). */
  readonly #partials: { first: number; terms: number; sum: NamedTensors }[] = [];
  #next: number;

  constructor(tf: TensorLibrary, first = 0) {
    this.#tf = tf;
    this.#next = first;
  }

  /** How many terms each node holds to which `count` terms from `first` on are added up. */
  static nodesOf(first: number, count: number): number[] {
    const nodes: number[] = [];
    for (let at = first; at < first + count; ) {
      let terms = 1;
      while (at % (2 * terms) === 0 && at + 2 * terms <= first + count) terms *= 2;
      nodes.push(terms);
      at += terms;
    }
    return nodes;
  }

  /** A term, or a node that holds the next `terms`. Takes the tensors over: they are freed once they were added. */
  push(term: NamedTensors, terms = 1): void {
    let entry = { first: this.#next, terms, sum: term };
    this.#next += terms;
    for (;;) {
      const top = this.#partials.at(-1);
      if (top?.terms !== entry.terms || top.first % (2 * top.terms) !== 0) break;
      this.#partials.pop();
      entry = { first: top.first, terms: 2 * entry.terms, sum: this.#add(top.sum, entry.sum) };
    }
    this.#partials.push(entry);
  }

  /** The nodes of a part, in order, the caller's from now on. */
  takeNodes(): NamedTensors[] {
    return this.#partials.splice(0).map(({ sum }) => sum);
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
