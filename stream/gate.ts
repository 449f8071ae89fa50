// The window at work: who holds the producer back now, and waiting for it.

import { untilAborted } from './abort.ts';
import type { WindowGate } from './lane-writer.ts';
import type { Plan } from './plan.ts';
import type { ProgressWatch } from './progress.ts';
import { admits, type Floor, floorOf, keepFrom } from './window.ts';

export interface GateOptions {
  readonly plan: Plan;
  readonly watch: ProgressWatch;
  readonly windowBytes: number;
  /** Steps [from, to) are made again, for a trainer or reader that may come later. */
  readonly regenerating: { readonly from: number; readonly to: number } | null;
  readonly onWait: (lane: number, step: number, slowest: string | null) => void;
  readonly onWaited: (ms: number) => void;
}

export function windowGate({ plan, watch, windowBytes, ...options }: GateOptions): WindowGate {
  const floor = floorFollower(watch, options.regenerating);
  const gate: WindowGate = {
    admits: (step) => admits(plan, floor(), step, windowBytes),
    async wait(step, lane, signal) {
      const start = performance.now();
      options.onWait(lane, step, floor().slowest);
      while (!signal.aborted && !gate.admits(step)) await untilAborted(watch.changed(), signal);
      options.onWaited(performance.now() - start);
    },
    keepFrom: (head) => keepFrom(plan, floor(), head, windowBytes),
  };
  return gate;
}

/**
 * While steps are made again the trainers' old reports do not count: they stand beyond them. The window begins at the
 * first of these steps until a trainer that lives has come for them.
 */
function floorFollower(watch: ProgressWatch, regenerating: GateOptions['regenerating']): () => Floor {
  if (!regenerating) return () => floorOf(watch.trainers);
  const { from, to } = regenerating;
  const awaited = {
    trainer: 'a reader of the regenerated steps',
    rank: 0,
    consumedStep: from - 1,
    checkpointStep: from,
  };
  let taken = false;
  return () => {
    taken ||= watch.reporting.some(({ consumedStep }) => consumedStep + 1 < to);
    return floorOf(taken ? watch.reporting : [...watch.reporting, awaited]);
  };
}
