// Progressive resizing: early epochs on small images, later ones on large. The plan holds the phases; here, what a
// trainer asks of them.

import type { Plan, StepPlace } from '#stream';

/** How far through its phase a step lies, 0 … 1: what the learning rate depends on. */
export function phaseShare({ phase, epoch, stepInEpoch }: StepPlace): number {
  const { firstEpoch, epochs, stepsPerEpoch } = phase;
  return ((epoch - firstEpoch) * stepsPerEpoch + stepInEpoch) / (epochs * stepsPerEpoch);
}

export interface ResolutionSwitch {
  /** The first step at the new resolution. */
  readonly step: number;
  readonly from: number;
  readonly to: number;
}

/** The steps at which the images' size changes, in order. */
export function resolutionSwitches({ phases }: Pick<Plan, 'phases'>): ResolutionSwitch[] {
  return phases.flatMap(({ firstStep, resolution }, index) => {
    const before = phases[index - 1];
    return before && before.resolution !== resolution
      ? [{ step: firstStep, from: before.resolution, to: resolution }]
      : [];
  });
}
