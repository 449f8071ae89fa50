// Named points at which a fault test has a process kill itself: MEDIUM_RECIPE_KILL_AT=NAME[@PLACE][:K].
//
//   before-ledger         the first time
//   before-ledger:3       the third time
//   before-ledger@1/7     the first time in lane 1, step 7; a shorter place, as @1, stands for all below it

import { Fault } from './errors.ts';

/** Every point: its place, what is done by then and what is not. A thread counts for itself. */
export const KILL_POINTS = {
  // stream; a val split's step is -1
  'chunk-appended': '@lane/step/chunk: the chunk is acknowledged; what follows it is not appended',
  'before-ledger': "@lane/step: all the step's chunks are acknowledged; its ledger record is not appended",
  // trainer, one step
  'phase-switch': '@step: the first batch of a later phase is here; nothing is changed for it',
  'fixres-start': "@step: FixRes' momentum is fresh, an average starts again; its first step is not done",
  'sam-before-second-pass': "@step: a group's (scope global: the step's) perturbed weights are made, and not used",
  'sam-in-second-pass': "@step: a group's second pass is done; what follows is not, the other groups' to begin with",
  'sam-after-second-pass': "@step: every group's second pass is done; the weights are not updated",
  'step-updated': '@step: weights, slots and statistics have moved; the journal knows nothing of it',
  'journal-appended': "@step: the step's line is in the journal; no checkpoint holds the step",
  // trainer, around the steps; a checkpoint's place is the number of steps done
  evaluation: '@epoch: a batch of the val split is here; it is not scored',
  'evaluation-done': "@epoch: the whole val split is scored; the epoch's checkpoint is not begun",
  'checkpoint-weights-written': '@step: the weights are durable aside; slots and state are not written',
  'checkpoint-state-written': '@step: weights, slots and state are durable aside; their sums are not written',
  'checkpoint-before-rename': '@step: the checkpoint is whole and durable aside; it has no name yet',
  'checkpoint-renamed': '@step: the checkpoint has its name; older ones are there, and the log does not know of it',
  'best-marked': '@step: best.json is right again; no older checkpoint is removed',
  'checkpoint-removing': '@step, that of an old checkpoint: it has lost its name; its files are there',
  'checkpoints-pruned': '@step: only the checkpoints that stay are there; the log does not know of the new one',
  'progress-reported': '@step: the log knows how far the trainer is',
} as const;

export type KillPoint = keyof typeof KILL_POINTS;

const wanted = process.env['MEDIUM_RECIPE_KILL_AT'];
let reached = 0;

/** Ends the process as SIGKILL does where the environment names this point; else it costs one comparison. */
export function killPoint(point: KillPoint, ...place: readonly number[]): void {
  if (wanted !== undefined) countTo(wanted, point, place);
}

function countTo(setting: string, point: KillPoint, place: readonly number[]): void {
  const [, name = '', within = '', times = '1'] =
    /^([a-z-]+)(?:@(-?\d+(?:\/-?\d+)*))?(?::([1-9]\d*))?$/.exec(setting) ?? [];
  if (!Object.hasOwn(KILL_POINTS, name))
    throw new Fault({
      code: 'kill-point-unknown',
      received: `MEDIUM_RECIPE_KILL_AT=${setting}`,
      expected: `NAME, NAME@PLACE or NAME:K with a name of ${Object.keys(KILL_POINTS).join(', ')}`,
      remedy: 'correct the variable; outside of fault tests, unset it',
      exit: 2,
    });
  const here = within === '' || `${place.join('/')}/`.startsWith(`${within}/`);
  if (name === point && here && ++reached === Number(times)) process.kill(process.pid, 'SIGKILL');
}
