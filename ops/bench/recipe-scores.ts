// What the trainings of a row, or of two trainers, say together: spreads over seeds, paired differences, verdicts.

import type { RecipeRow } from './recipe-rows.ts';
import {
  type Difference,
  equalWithin2,
  pairedDifference,
  type Spread,
  spread,
  type Verdict,
  wilson,
} from './recipe-statistics.ts';
import type { Scores, Training } from './recipe-trainings.ts';

export const MEASURES = ['trainTop1', 'valTop1', 'trainLoss', 'valLoss'] as const;
export type Measure = (typeof MEASURES)[number];

/** Beside the whole recipe. */
export type Word = 'better' | 'worse' | 'within noise';

export interface Compared extends Difference {
  readonly word: Word | null;
}

export type RowScores = Readonly<Record<Measure, Spread>> & {
  readonly name: string;
  readonly note: string | null;
  /** 95 %, as if each seed had answered for the same val photos anew: of one evaluation of so many photos. */
  readonly valTop1Interval: readonly [low: number, high: number];
  /** Of training; the machine's load is in it. */
  readonly seconds: Spread;
  /** This row minus the whole recipe, seed by seed; null of that itself. */
  readonly difference: Readonly<Record<Measure, Compared>> | null;
};

export function rowScores(
  { name, note }: RecipeRow,
  trainings: readonly Training[],
  whole: readonly Training[],
  valPhotos: number,
): RowScores {
  const spreads = byMeasure((measure) => spread(valuesOf(trainings, measure)));
  const compared = (measure: Measure): Compared => {
    const difference = pairedDifference(valuesOf(trainings, measure), valuesOf(whole, measure));
    return { ...difference, word: wordOf(difference.verdict, measure) };
  };
  return {
    name,
    note,
    ...spreads,
    valTop1Interval: wilson(spreads.valTop1.mean, valPhotos),
    seconds: spread(trainings.map(({ seconds }) => seconds)),
    difference: trainings[0]?.row === whole[0]?.row ? null : byMeasure(compared),
  };
}

/** A higher loss is worse, a higher share of right answers better. */
export function wordOf(verdict: Verdict | null, measure: Measure): Word | null {
  if (verdict === null || verdict === 'within noise') return verdict;
  const isLoss = measure === 'trainLoss' || measure === 'valLoss';
  return (verdict === 'lower') === isLoss ? 'better' : 'worse';
}

function byMeasure<Value>(of: (measure: Measure) => Value): Record<Measure, Value> {
  const [trainTop1, valTop1, trainLoss, valLoss] = MEASURES;
  return {
    [trainTop1]: of(trainTop1),
    [valTop1]: of(valTop1),
    [trainLoss]: of(trainLoss),
    [valLoss]: of(valLoss),
  };
}

function valuesOf(trainings: readonly Training[], measure: Measure): number[] {
  const scoresOf = ({ train, val }: Training): Scores | null => (measure.startsWith('train') ? train : val);
  return trainings.map((training) => {
    const scores = scoresOf(training);
    if (!scores) throw new Error(`${training.row}, seed ${training.seed}, was not evaluated`);
    return measure.endsWith('Top1') ? scores.top1 : scores.loss;
  });
}

/** How many steps from the start are compared one by one, and how many at the end by their mean. */
const FIRST_STEPS = 3;
const LAST_STEPS = 50;
/** Of the first steps' losses, relative. */
const FIRST_TOLERANCE = 1e-4;

export interface Parity {
  readonly pass: boolean;
  /** By seed; losses of the first steps. */
  readonly first: readonly {
    readonly seed: number;
    readonly ours: readonly number[];
    readonly theirs: readonly number[];
    /** |ours − theirs| / theirs. */
    readonly relative: readonly number[];
  }[];
  readonly worstRelative: number;
  readonly tolerance: number;
  /** Mean loss of the last steps: over seeds, beside 2 standard errors of the difference, and seed by seed. */
  readonly last: {
    readonly steps: number;
    readonly ours: Spread;
    readonly theirs: Spread;
    readonly difference: number;
    readonly standardError: number;
    readonly equal: boolean;
    readonly paired: Difference;
  };
  /** By phase, means over seeds: PyTorch's medians without reading, ours from images/s as the trainer counts them. */
  readonly msPerStep: { readonly ours: readonly number[]; readonly theirs: readonly number[] };
}

/** Two trainers on the same records from the same weights, both in the order of their seeds. */
export function parityOf(ours: readonly Training[], theirs: readonly Training[]): Parity {
  const mean = (values: readonly number[]) => spread(values).mean;
  const first = ours.map(({ seed, losses }, i) => {
    const other = theirs[i];
    if (other?.seed !== seed || other.losses.length !== losses.length)
      throw new Error(`seed ${seed}: ${losses.length} losses of ours, ${other?.losses.length} of PyTorch's`);
    const [a, b] = [losses.slice(0, FIRST_STEPS), other.losses.slice(0, FIRST_STEPS)];
    const relative = a.map((loss, step) => Math.abs(loss - (b[step] ?? Number.NaN)) / (b[step] ?? Number.NaN));
    return { seed, ours: a, theirs: b, relative };
  });
  const worstRelative = Math.max(...first.flatMap(({ relative }) => relative));
  const ends = (trainings: readonly Training[]) => trainings.map(({ losses }) => mean(losses.slice(-LAST_STEPS)));
  const equal = equalWithin2(ends(ours), ends(theirs));
  const msPerStep = (trainings: readonly Training[]) =>
    (trainings[0]?.msPerStep ?? []).map((_, phase) =>
      mean(trainings.map((each) => each.msPerStep[phase] ?? Number.NaN)),
    );
  return {
    pass: worstRelative <= FIRST_TOLERANCE && equal.equal,
    first,
    worstRelative,
    tolerance: FIRST_TOLERANCE,
    last: {
      steps: LAST_STEPS,
      ours: spread(ends(ours)),
      theirs: spread(ends(theirs)),
      ...equal,
      paired: pairedDifference(ends(ours), ends(theirs)),
    },
    msPerStep: { ours: msPerStep(ours), theirs: msPerStep(theirs) },
  };
}

/** One training for people, as it ends. */
export function trainingLine({ row, seed, who, losses, seconds, train, val }: Training): string {
  const name = who === 'ours' ? row : `${row} in PyTorch`;
  const scores = (what: string, of: Scores | null) =>
    of ? `, ${what} top-1 ${of.top1.toFixed(3)} loss ${of.loss.toFixed(3)}` : '';
  const last = spread(losses.slice(-LAST_STEPS)).mean.toFixed(4);
  return `seed ${seed}, ${name}: last losses ${last}${scores('train', train)}${scores('val', val)}; ${seconds.toFixed(0)} s`;
}
