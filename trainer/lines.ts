// What a run tells on its way, in lines: steps, switches, waits, and at its end what the reading met.

import type { Plan } from '#stream';
import { type DataReport, type DataWait, dataLine } from './data-wait.ts';
import type { JournalEntry } from './journal.ts';
import { type ResolutionSwitch, resolutionSwitches } from './methods/progressive-resizing/progressive-resizing.ts';

/** How often a step is shown at most, ms. */
const TELL_MS = 1000;

export class StepLines {
  readonly #plan: Plan;
  readonly #data: Pick<DataWait, 'recent'>;
  readonly #onLine: (line: string) => void;
  readonly #switches: readonly ResolutionSwitch[];
  #toldAt = 0;

  constructor(plan: Plan, data: Pick<DataWait, 'recent'>, onLine: (line: string) => void) {
    this.#plan = plan;
    this.#data = data;
    this.#onLine = onLine;
    this.#switches = resolutionSwitches(plan);
  }

  /** A step that is done. */
  step({ step, loss, lr }: JournalEntry): void {
    const change = this.#switches.find((resolution) => resolution.step === step);
    if (change) this.#onLine(`step ${step + 1}: from ${change.from} to ${change.to} px, the next topic`);
    const now = performance.now();
    if (now - this.#toldAt < TELL_MS) return;
    this.#toldAt = now;
    const waited = `${Math.round(100 * this.#data.recent())} %`;
    this.#onLine(
      `step ${step + 1}/${this.#plan.steps}: loss ${loss.toFixed(4)}, lr ${lr.toPrecision(3)}, waited ${waited} of the time`,
    );
  }

  /** A step whose data is long in coming; `absent`: the ranks that have none of it. */
  waits(step: number, absent: readonly number[]): void {
    const where = absent.length === 0 ? '' : ` at rank ${absent.join(', ')}`;
    this.#onLine(`waits for step ${step + 1}/${this.#plan.steps}${where}`);
  }
}

/** One line on the waits for data, and one of what was out of the ordinary. */
export function endingLines(data: DataReport | null, all: Readonly<Record<string, number>>): string[] {
  const { bytes: _, ...counters } = all;
  const met = Object.entries(counters).filter(([, count]) => count !== 0);
  return [
    ...(data ? [dataLine(data)] : []),
    ...(met.length > 0 ? [`reading: ${met.map(([name, count]) => `${name} ${count}`).join(', ')}`] : []),
  ];
}
