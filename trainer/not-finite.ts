// A number that is not finite ends the training: which one, where, and the commands that bring its batch back.

import { join } from 'node:path';
import { Fault, shellWord } from '#shards';
import { type Plan, placeOf, transportArgument } from '#stream';

export interface NotFiniteDetails {
  readonly code: 'loss-not-finite' | 'gradient-not-finite' | 'weights-not-finite' | 'logits-not-finite';
  /** As in `a loss of NaN`. */
  readonly what: string;
  /** The step whose batch has to be looked at. */
  readonly step: number;
  /** Of the step's groups, counted over all ranks; null where it is no one group's. */
  readonly group?: number | null;
  readonly cause?: unknown;
}

/** What the step that met it knows. `explained` adds what the run knows. */
export class NotFinite extends Fault {
  readonly what: string;
  readonly step: number;
  readonly group: number | null;

  constructor({ code, what, step, group = null, cause }: NotFiniteDetails) {
    super({
      code,
      received: `${what} at step ${step}${group === null ? '' : `, group ${group}`}`,
      expected: 'a finite number',
      remedy: 'look at the step’s batch; if it is sound, train anew with a lower learning rate or a longer warm-up',
      cause,
    });
    this.what = what;
    this.step = step;
    this.group = group;
  }
}

export interface Explanation {
  readonly run: string;
  readonly transport: string;
  readonly out: string;
  readonly plan: Plan;
  /** Of a step, over all ranks. */
  readonly groups: number;
  /** The step of the newest checkpoint; 0 without one. */
  readonly checkpointStep: number;
}

/** The same Fault with phase, epoch and lanes, and the commands as they can be pasted into a shell. */
export function explained(error: NotFinite, { run, out, plan, groups, ...rest }: Explanation): Fault {
  const { code, what, step, group, cause } = error;
  const { phase, epoch } = placeOf(plan, step);
  const place = `step ${step} (phase ${phase.index} at ${phase.resolution} px, epoch ${epoch})`;
  const each = plan.lanes / groups;
  const [first, last] = [(group ?? 0) * each, ((group ?? 0) + 1) * each - 1];
  const where =
    group === null ? '' : `, group ${group}, ${first === last ? `lane ${first}` : `lanes ${first} to ${last}`}`;
  const target = `--run ${run} ${transportArgument({ url: rest.transport })}`;
  const replayed = join(out, `step-${step}`);
  const from = rest.checkpointStep === 0 ? 'step 0' : `the newest checkpoint, step ${rest.checkpointStep}`;
  return new Fault({
    code,
    received: `${what} at ${place}${where}`,
    expected: 'a finite number',
    remedy: [
      `see the batch: stream inspect ${target} --step ${step} --image ${shellWord(`${replayed}.png`)}`,
      `have its records as files: stream replay ${target} --from-step ${step} --to-step ${step + 1} --to ${shellWord(replayed)}`,
      `the same command with --resume comes to it again from ${from}`,
      'if the batch is sound, train anew with another --out and --set optimizer.lr=… lower or optimizer.warmupEpochs=… longer',
    ].join('; '),
    cause: cause ?? error,
  });
}
