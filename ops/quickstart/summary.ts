// The quickstart's result: what it trained, how fast, how well, beside the share of the largest class.

import type { Manifest } from '#shards';
import type { ConsumeResult, EvaluateResult } from '#trainer';

export interface Summary {
  readonly backend: string;
  readonly transport: string;
  /** From the first shard to the last evaluation. */
  readonly seconds: number;
  /** Steps [fromStep, toStep). */
  readonly phases: readonly {
    readonly resolution: number;
    readonly topic: string;
    readonly fromStep: number;
    readonly toStep: number;
    readonly imagesPerSecond: number;
  }[];
  /** Mean over the first and the last epoch. */
  readonly firstLoss: number;
  readonly finalLoss: number;
  /** Of the unaugmented photos at the last phase's resolution, shares in 0 … 1. */
  readonly trainTop1: number;
  readonly valTop1: number;
  /** The share of the largest class: what always guessing it would score. */
  readonly chance: { readonly train: number; readonly val: number };
}

/** The largest share of any value. */
export function largestShare(labels: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return Math.max(...counts.values()) / labels.length;
}

export interface SummaryParts {
  readonly transport: string;
  readonly seconds: number;
  readonly consumed: ConsumeResult;
  readonly train: EvaluateResult;
  readonly val: EvaluateResult;
  readonly chance: Summary['chance'];
}

export function summarise({ transport, seconds, consumed, train, val, chance }: SummaryParts): Summary {
  return {
    backend: consumed.backend,
    transport,
    seconds,
    phases: consumed.phases.map(({ resolution, topic, fromStep, toStep, imagesPerSecond }) => ({
      resolution,
      topic,
      fromStep,
      toStep,
      imagesPerSecond,
    })),
    firstLoss: known(consumed.firstLoss),
    finalLoss: known(consumed.finalLoss),
    trainTop1: train.top1,
    valTop1: val.top1,
    chance,
  };
}

/** A run from its first step to its last knows every loss. */
function known(loss: number | null): number {
  if (loss === null) throw new Error('the trainer does not know a loss of a run that it did from the start');
  return loss;
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** The table that ends the quickstart. */
export function tableOf(summary: Summary, consumed: ConsumeResult, dataset: Manifest['dataset']): string {
  const rows = [
    ['phase', 'px', 'topic', 'steps', 'images/s', 'first loss', 'last loss', 'method'],
    ...consumed.phases.map((phase, i) => [
      String(i),
      String(phase.resolution),
      phase.topic,
      `${phase.fromStep}–${phase.toStep - 1}`,
      phase.imagesPerSecond.toFixed(0),
      known(phase.firstLoss).toFixed(3),
      known(phase.lastLoss).toFixed(3),
      phase.fixres ? 'FixRes: last norm and fc' : 'all weights',
    ]),
  ];
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const { train, val } = dataset.counts;
  return [
    ...lines,
    '',
    `backend ${summary.backend}, transport ${summary.transport}, ${summary.seconds.toFixed(0)} s`,
    `train top-1 ${percent(summary.trainTop1)} of ${train} photos, unaugmented (largest class: ${percent(summary.chance.train)})`,
    `val top-1 ${percent(summary.valTop1)} of ${val} photos (largest class: ${percent(summary.chance.val)})`,
  ].join('\n');
}
