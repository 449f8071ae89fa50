// Our figures beside PyTorch's, and whether all lie within the file's bounds.

import { type Bound, badCase } from './case-file.ts';

/** One figure beside PyTorch's. */
export interface Figure {
  /** `loss[3]`, `firstGradNorm conv1.weight`, `final conv1.weight[0]`, … */
  readonly what: string;
  readonly ours: number;
  readonly theirs: number;
  /** |ours − theirs| over the bound's scale; Infinity where ours is not finite. */
  readonly relative: number;
  /** The largest `relative` that passes; null where the file gives none: such a figure need only be finite. */
  readonly tolerance: number | null;
}

export interface Pair {
  readonly what: string;
  readonly ours: number;
  readonly theirs: number;
  /** Of a sample: the root mean square of the tensor that it is from. */
  readonly typical?: number;
}

/** Pairs under one bound. Where the file gives none, samples are told by their tensor's size, all else by the largest. */
export function compared(pairs: readonly Pair[], bound: Bound | undefined): Figure[] {
  const largest = pairs.reduce((most, { theirs }) => Math.max(most, Math.abs(theirs)), 0);
  return pairs.map(({ what, ours, theirs, typical }) => {
    const of = bound?.of ?? (typical === undefined ? 'largest' : 'root mean square');
    const scale = { itself: Math.abs(theirs), largest, 'root mean square': typical }[of];
    if (scale === undefined) throw badCase(`a tolerance '… of the ${of}' for ${what}`, 'one for the values of tensors');
    const difference = Math.abs(ours - theirs);
    const relative = difference === 0 ? 0 : Number.isFinite(difference) ? difference / scale : Number.POSITIVE_INFINITY;
    return { what, ours, theirs, relative, tolerance: bound?.tolerance ?? null };
  });
}

export function passes({ relative, tolerance }: Figure): boolean {
  return relative <= (tolerance ?? Number.MAX_VALUE);
}

/** How much of its tolerance a figure uses; above 1 it fails. One without a tolerance uses none unless it is not finite. */
export function strain({ relative, tolerance }: Figure): number {
  return tolerance === null ? (Number.isFinite(relative) ? 0 : relative) : relative / tolerance;
}

export interface Verdict {
  readonly pass: boolean;
  /** The figure that uses most of its tolerance. */
  readonly worst: Figure;
  /** Ours, by step. */
  readonly loss: readonly number[];
  readonly compared: number;
  /** Of each kind of figure that the file bounds by nothing, the one that lies farthest off. */
  readonly unbounded: readonly Figure[];
}

export function verdict(figures: readonly Figure[]): Verdict {
  const kinds = new Map<string, Figure>();
  for (const figure of figures) {
    if (figure.tolerance !== null) continue;
    const kind = figure.what.split(/[ [{]/, 1)[0] as string;
    const farthest = kinds.get(kind);
    if (!farthest || figure.relative > farthest.relative) kinds.set(kind, figure);
  }
  return {
    pass: figures.every(passes),
    worst: figures.reduce((worst, figure) => (strain(figure) > strain(worst) ? figure : worst)),
    loss: figures.filter(({ what }) => what.startsWith('loss[')).map(({ ours }) => ours),
    compared: figures.length,
    unbounded: [...kinds.values()],
  };
}
