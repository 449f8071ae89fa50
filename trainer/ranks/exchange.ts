// What a step's ranks give each other: partial sums of gradients, and figures of each group. The sums are the same to the
// bit for any number of ranks, because they are added in the one tree over all groups.

import { Fault } from '#shards';
import type { Recipe } from '#stream';
import { type NamedTensors, named, type TensorLibrary } from '../backend/kernels.ts';
import { TreeSum } from '../tree-sum.ts';
import type { Collective } from './collective.ts';
import type { Meeting } from './meeting.ts';

/** Floats of a node that travel at a time, so that memory does not grow with ranks times parameters. */
const PIECE = 2 ** 20;

export interface Exchange {
  /** The first of this rank's groups. */
  readonly firstGroup: number;
  /** Runs what precedes `total`; if it fails, the other ranks end too. */
  telling<Value>(work: () => Value): Value;
  /** The sum over all ranks' groups; `step` and `sweep` say which. Takes the tree's terms over. */
  total(tf: TensorLibrary, tree: TreeSum, step: number, sweep: number): NamedTensors;
  /** A row of figures for each of this rank's groups, all of one length → a row for each group of the step, in order. */
  rows(own: readonly Float32Array[]): readonly Float32Array[];
  /** The same of small tensors, which it takes over. */
  ofEachGroup(tf: TensorLibrary, own: readonly NamedTensors[]): readonly NamedTensors[];
}

/** One trainer runs all groups. */
export const ALONE: Exchange = {
  firstGroup: 0,
  telling: (work) => work(),
  total: (_, tree) => tree.take(),
  rows: (own) => own,
  ofEachGroup: (_, own) => own,
};

/** Fault `groups-uneven` where the ranks cannot own whole groups, as many each. */
export function checkGroups({ groups }: Pick<Recipe, 'groups'>, ranks: number): void {
  if (groups % ranks === 0) return;
  const divisors = Array.from({ length: groups }, (_, i) => i + 1).filter((n) => groups % n === 0);
  throw new Fault({
    code: 'groups-uneven',
    received: `${ranks} ranks for a recipe of ${groups} groups`,
    expected: `a number of ranks that divides the groups: ${divisors.join(', ')}`,
    remedy: `start so many, or train with other groups: --set groups=N with N a multiple of ${ranks} that divides the lanes`,
    exit: 2,
  });
}

export function exchangeOf(collective: Collective, meeting: Meeting, groups: number): Exchange {
  return collective.ranks === 1 ? ALONE : new RankExchange(collective, meeting, groups);
}

class RankExchange implements Exchange {
  readonly firstGroup: number;
  readonly #collective: Collective;
  readonly #meeting: Meeting;
  /** By rank: how many groups each of its partial sums holds. */
  readonly #nodes: readonly (readonly number[])[];
  #sent = new Float32Array();
  #received = new Float32Array();

  constructor(collective: Collective, meeting: Meeting, groups: number) {
    const each = groups / collective.ranks;
    this.#collective = collective;
    this.#meeting = meeting;
    this.firstGroup = collective.rank * each;
    this.#nodes = Array.from({ length: collective.ranks }, (_, rank) => TreeSum.nodesOf(rank * each, each));
  }

  telling<Value>(work: () => Value): Value {
    return this.#meeting.telling(work);
  }

  total(tf: TensorLibrary, tree: TreeSum, step: number, sweep: number): NamedTensors {
    this.#meeting.meetNow({ agree: { step, sweep } });
    const nodes = tree.takeNodes();
    const sum: NamedTensors = {};
    for (const piece of piecesOf(shapesOf(nodes))) Object.assign(sum, this.#sumOf(tf, nodes, piece));
    tf.dispose(nodes);
    return sum;
  }

  rows(own: readonly Float32Array[]): readonly Float32Array[] {
    const length = own[0]?.length ?? 0;
    const all = this.#gather(own, own.length * length);
    return Array.from({ length: own.length * this.#collective.ranks }, (_, row) =>
      all.slice(row * length, (row + 1) * length),
    );
  }

  ofEachGroup(tf: TensorLibrary, own: readonly NamedTensors[]): readonly NamedTensors[] {
    const shapes = shapesOf(own);
    const rows = own.map((tensors) => {
      const row = new Float32Array(sizeOf(shapes));
      pack(valuesOf(tensors, shapes), row);
      return row;
    });
    tf.dispose([...own]);
    return this.rows(rows).map((row) => tensorsOf(tf, row, shapes));
  }

  /** Adds up some parameters over all ranks, tensor by tensor, as one trainer would. */
  #sumOf(tf: TensorLibrary, nodes: readonly NamedTensors[], shapes: readonly NamedShape[]): NamedTensors {
    const size = sizeOf(shapes);
    // Ranks hold different numbers of nodes where their groups are no power of two; blocks have to be of one size.
    const most = Math.max(...this.#nodes.map(({ length }) => length));
    const values = nodes.flatMap((node) => valuesOf(node, shapes));
    const all = this.#gather(values, most * size);
    const tree = new TreeSum(tf);
    this.#nodes.forEach((terms, rank) => {
      terms.forEach((count, node) => {
        tree.push(tensorsOf(tf, all.subarray((rank * most + node) * size), shapes), count);
      });
    });
    return tree.take();
  }

  /** Sends the values one after another, in a block of `length` floats; returns every rank's block, until the next call. */
  #gather(values: readonly Float32Array[], length: number): Float32Array {
    const { ranks } = this.#collective;
    if (this.#sent.length < length) this.#sent = new Float32Array(length);
    if (this.#received.length < ranks * length) this.#received = new Float32Array(ranks * length);
    pack(values, this.#sent);
    this.#collective.gather(bytesOf(this.#sent, length), bytesOf(this.#received, ranks * length));
    return this.#received;
  }
}

interface NamedShape {
  readonly name: string;
  readonly shape: number[];
  readonly size: number;
}

/** Of sets of tensors that are all alike. */
function shapesOf([first = {}]: readonly NamedTensors[]): NamedShape[] {
  return Object.entries(first).map(([name, { shape, size }]) => ({ name, shape, size }));
}

function sizeOf(shapes: readonly NamedShape[]): number {
  return shapes.reduce((total, { size }) => total + size, 0);
}

function valuesOf(tensors: NamedTensors, shapes: readonly NamedShape[]): Float32Array[] {
  return shapes.map(({ name }) => named(tensors, name).dataSync<'float32'>());
}

/** The tensors whose values stand one after another. */
function tensorsOf(tf: TensorLibrary, values: Float32Array, shapes: readonly NamedShape[]): NamedTensors {
  let at = 0;
  const tensors: NamedTensors = {};
  for (const { name, shape, size } of shapes) {
    tensors[name] = tf.tensor(values.subarray(at, at + size), shape, 'float32');
    at += size;
  }
  return tensors;
}

function pack(arrays: readonly Float32Array[], into: Float32Array): void {
  let at = 0;
  for (const values of arrays) {
    into.set(values, at);
    at += values.length;
  }
}

/** Runs of up to PIECE values; a larger tensor by itself. */
function piecesOf(shapes: readonly NamedShape[]): NamedShape[][] {
  const pieces: NamedShape[][] = [];
  let room = 0;
  for (const shape of shapes) {
    if (shape.size > room || pieces.length === 0) {
      pieces.push([]);
      room = PIECE;
    }
    pieces.at(-1)?.push(shape);
    room -= shape.size;
  }
  return pieces;
}

function bytesOf(values: Float32Array, length: number): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, length * values.BYTES_PER_ELEMENT);
}
