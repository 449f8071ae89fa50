// What a run's steps add up to, phase by phase: losses and throughput, for the table at its end.

import { type Plan, placeOf } from '#stream';
import type { JournalEntry } from './journal.ts';

export interface PhaseResult {
  readonly resolution: number;
  readonly topic: string;
  /** Steps [fromStep, toStep). */
  readonly fromStep: number;
  readonly toStep: number;
  readonly fixres: boolean;
  /** Of the steps that this process ran, evaluations and checkpoints left out; 0 where it ran none. */
  readonly imagesPerSecond: number;
  /** Mean losses over the phase's first and last epoch. */
  readonly firstLoss: number;
  readonly lastLoss: number;
}

interface Totals {
  readonly losses: Map<number, number[]>;
  images: number;
  ms: number;
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

export class PhaseTally {
  readonly #plan: Plan;
  readonly #topicOf: (resolution: number) => string;
  readonly #phases: Totals[];

  constructor(plan: Plan, topicOf: (resolution: number) => string) {
    this.#plan = plan;
    this.#topicOf = topicOf;
    this.#phases = plan.phases.map(() => ({ losses: new Map(), images: 0, ms: 0 }));
  }

  /** `ms`: how long the step took with its wait; null for a step of an earlier process. */
  add(
    { step, epoch, loss, samples }: Pick<JournalEntry, 'step' | 'epoch' | 'loss' | 'samples'>,
    ms: number | null,
  ): void {
    const totals = this.#phases[placeOf(this.#plan, step).phase.index];
    if (!totals) return;
    const { phase } = placeOf(this.#plan, step);
    // A phase's first and last epoch are all that is told: a long run's other losses stay in the journal.
    if (epoch === phase.firstEpoch || epoch === phase.firstEpoch + phase.epochs - 1)
      totals.losses.set(epoch, [...(totals.losses.get(epoch) ?? []), loss]);
    if (ms === null) return;
    totals.images += samples;
    totals.ms += ms;
  }

  result(): { firstLoss: number; finalLoss: number; phases: PhaseResult[] } {
    const phases = this.#plan.phases.map((phase, i): PhaseResult => {
      const { losses, images, ms } = this.#phases[i] as Totals;
      return {
        resolution: phase.resolution,
        topic: this.#topicOf(phase.resolution),
        fromStep: phase.firstStep,
        toStep: phase.firstStep + phase.epochs * phase.stepsPerEpoch,
        fixres: phase.crop === 'centre',
        imagesPerSecond: ms > 0 ? (images * 1000) / ms : 0,
        firstLoss: mean(losses.get(phase.firstEpoch) ?? []),
        lastLoss: mean(losses.get(phase.firstEpoch + phase.epochs - 1) ?? []),
      };
    });
    return { firstLoss: phases[0]?.firstLoss ?? NaN, finalLoss: phases.at(-1)?.lastLoss ?? NaN, phases };
  }
}
