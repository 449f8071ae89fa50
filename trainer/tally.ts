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
  /** Mean losses over the phase's first and last epoch; null where not every step of it is known. */
  readonly firstLoss: number | null;
  readonly lastLoss: number | null;
}

interface Losses {
  readonly sum: number;
  readonly count: number;
}

interface Totals {
  /** By epoch. */
  readonly losses: Map<number, Losses>;
  images: number;
  ms: number;
}

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
    const { phase } = placeOf(this.#plan, step);
    const totals = this.#phases[phase.index];
    if (!totals) return;
    // A phase's first and last epoch are all that is told: a long run's other losses stay in the journal.
    if (epoch === phase.firstEpoch || epoch === phase.firstEpoch + phase.epochs - 1) {
      const { sum, count } = totals.losses.get(epoch) ?? { sum: 0, count: 0 };
      totals.losses.set(epoch, { sum: sum + loss, count: count + 1 });
    }
    if (ms === null) return;
    totals.images += samples;
    totals.ms += ms;
  }

  result(): { firstLoss: number | null; finalLoss: number | null; phases: PhaseResult[] } {
    const phases = this.#plan.phases.map((phase, i): PhaseResult => {
      const { losses, images, ms } = this.#phases[i] as Totals;
      const meanOf = (epoch: number) => {
        const { sum, count } = losses.get(epoch) ?? { sum: 0, count: 0 };
        return count === phase.stepsPerEpoch ? sum / count : null;
      };
      return {
        resolution: phase.resolution,
        topic: this.#topicOf(phase.resolution),
        fromStep: phase.firstStep,
        toStep: phase.firstStep + phase.epochs * phase.stepsPerEpoch,
        fixres: phase.crop === 'centre',
        imagesPerSecond: ms > 0 ? (images * 1000) / ms : 0,
        firstLoss: meanOf(phase.firstEpoch),
        lastLoss: meanOf(phase.firstEpoch + phase.epochs - 1),
      };
    });
    return { firstLoss: phases[0]?.firstLoss ?? null, finalLoss: phases.at(-1)?.lastLoss ?? null, phases };
  }
}
