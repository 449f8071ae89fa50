// The result of `ops bench recipe` as text for people.

import type { RecipeBenchResult } from './recipe.ts';
import type { Measure, Parity, RowScores } from './recipe-scores.ts';
import type { Spread } from './recipe-statistics.ts';
import { table } from './report.ts';

const SIGNS = { better: '+', worse: '−', 'within noise': '=' } as const;

const plusMinus = ({ mean, std }: Spread, digits: number) => `${mean.toFixed(digits)} ± ${std.toFixed(digits)}`;

function cells(row: RowScores & { readonly ratio: number }): string[] {
  const scored = (measure: Measure) => {
    const word = row.difference?.[measure].word;
    return `${plusMinus(row[measure], 3)}${word ? ` ${SIGNS[word]}` : ''}`;
  };
  const [low, high] = row.valTop1Interval;
  return [
    row.name,
    scored('trainTop1'),
    scored('valTop1'),
    `${low.toFixed(2)}–${high.toFixed(2)}`,
    scored('trainLoss'),
    scored('valLoss'),
    row.ratio.toFixed(2),
    row.seconds.mean.toFixed(0),
    row.difference?.valLoss.word ?? '',
  ];
}

export function recipeReport({ machine, recipe, seeds, threads, rows, parity }: RecipeBenchResult): string {
  const head = [
    '',
    'train top-1',
    'val top-1',
    'Wilson 95 %',
    'train loss',
    'val loss',
    '÷ recipe',
    's',
    'by val loss',
  ];
  const notes = rows.filter(({ note }) => note !== null).map(({ name, note }) => `${name}: ${note}`);
  return [
    `${machine.cpu}, ${machine.cores} cores, ${threads} threads a trainer, Node ${machine.node}, load ${machine.load.toFixed(1)}`,
    `recipe ${recipe}, seeds 0 … ${seeds - 1}; mean ± standard deviation over seeds`,
    '',
    table([head, ...rows.map(cells)]),
    '',
    'top-1 and loss: unaugmented photos at the last resolution, hard labels, no smoothing, no MixUp, whatever the row trained with',
    '+ better, − worse, = within noise, beside the recipe, seed by seed: beyond noise is further from 0 than Student’s t at 95 %',
    'of the paired differences, which chance alone does in one comparison of twenty. Wilson: of one evaluation of the val photos',
    ...notes,
    ...(parity ? ['', ...parityLines(parity)] : []),
  ].join('\n');
}

function parityLines({ pass, first, worstRelative, tolerance, last, msPerStep }: Parity): string[] {
  const losses = (values: readonly number[]) => values.map((value) => value.toFixed(5)).join(' ');
  const lines = first.map(({ seed, ours, theirs, relative }) => [
    String(seed),
    losses(ours),
    losses(theirs),
    relative.map((value) => value.toExponential(1)).join(' '),
  ]);
  const { paired } = last;
  const times = (values: readonly number[]) => values.map((ms) => ms.toFixed(0)).join(', ');
  return [
    'beside PyTorch: the same records, the same initial weights',
    table([['seed', 'ours, first losses', 'PyTorch', 'relative'], ...lines]),
    `the first steps differ by at most ${worstRelative.toExponential(1)} (tolerance ${tolerance})`,
    `mean loss of the last ${last.steps} steps: ours ${plusMinus(last.ours, 4)}, PyTorch ${plusMinus(last.theirs, 4)}`,
    `difference ${last.difference.toFixed(4)}, ${last.equal ? 'within' : 'BEYOND'} 2 standard errors of ${last.standardError.toFixed(4)}; ` +
      `seed by seed ${paired.mean.toFixed(4)}, standard error ${paired.standardError.toFixed(4)}${paired.verdict ? `: ${paired.verdict}` : ''}`,
    `ms a step by phase: ours ${times(msPerStep.ours)}; PyTorch ${times(msPerStep.theirs)}`,
    pass ? 'pass' : 'FAIL',
  ];
}
