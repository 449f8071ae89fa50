// What an evaluation leaves in files: scores by class with the confusion matrix as JSON, and every answer as CSV.
//
//   REPORT.json       {format, …the command's result, classes: [{index, wnid, name?, samples, top1, top5}],
//                      confusion: [[count, …], …]}        a row a class, a column a prediction
//   PREDICTIONS.csv   sample,path,label,predicted,rank,loss        a line a sample, in order; path of --source only

import type { ClassEntry } from '#shards';
import type { Answer, Evaluation } from './evaluate.ts';

export const REPORT_FORMAT = 'medium-recipe/evaluation@1';

export interface ClassScore extends ClassEntry {
  readonly samples: number;
  /** Shares in 0 … 1; null for a class without a sample. */
  readonly top1: number | null;
  readonly top5: number | null;
}

export function classScores(classes: readonly ClassEntry[], { confusion, top5 }: Evaluation): ClassScore[] {
  const n = classes.length;
  return classes.map((entry, label) => {
    const samples = confusion.subarray(label * n, (label + 1) * n).reduce((sum, count) => sum + count, 0);
    const share = (hits: number | undefined) => (samples === 0 ? null : (hits ?? 0) / samples);
    return { ...entry, samples, top1: share(confusion[label * n + label]), top5: share(top5[label]) };
  });
}

/** `result` as the command prints it with --json. */
export function reportText(result: object, classes: readonly ClassEntry[], evaluation: Evaluation): string {
  const rows = classes.map((_, label) => [
    ...evaluation.confusion.subarray(label * classes.length, (label + 1) * classes.length),
  ]);
  const head = { format: REPORT_FORMAT, ...result };
  const lines = (items: readonly object[]) => items.map((item) => `  ${JSON.stringify(item)}`).join(',\n');
  // A line a class: 1000 rows of 1000 stay readable.
  const body = `"classes":[\n${lines(classScores(classes, evaluation))}\n],\n"confusion":[\n${lines(rows)}\n]`;
  return `${JSON.stringify(head).slice(0, -1)},\n${body}}\n`;
}

/** The lines of PREDICTIONS.csv, the first one included. */
export class PredictionLines {
  readonly lines = ['sample,path,label,predicted,rank,loss'];
  #paths: readonly string[] = [];
  #next = 0;

  /** The paths of the samples that come next; none where they have no files. */
  names(paths: readonly string[]): void {
    this.#paths = paths;
    this.#next = 0;
  }

  add({ label, predicted, rank, loss }: Answer): void {
    const path = this.#paths[this.#next++] ?? '';
    this.lines.push([this.lines.length - 1, quoted(path), label, predicted, rank, loss].join(','));
  }
}

/** As CSV has it (RFC 4180): in quotes where it must be. */
function quoted(text: string): string {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
