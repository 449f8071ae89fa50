// Named points at which a fault test has a process kill itself: MEDIUM_RECIPE_KILL_AT=NAME, or NAME:K for the K-th time.

import { Fault } from './errors.ts';

/** Every point, with what is done by then and what is not. A thread counts for itself. */
const POINTS = {
  // stream
  'chunk-appended': 'a chunk is acknowledged by the log; the next chunk, or the ledger record, is not appended',
  'before-ledger': "all chunks of a lane's step are acknowledged; its ledger record is not appended",
  // trainer, one step
  'phase-switch': 'the first batch of a later phase is here; nothing is changed for it',
  'fixres-start': "FixRes' momentum is fresh; its first step is not done",
  'sam-before-second-pass': "a group's (scope global: the step's) perturbed weights are made; no pass at them is done",
  'sam-in-second-pass': "a group's second pass is done; the other groups' and the update are not",
  'sam-after-second-pass': "every group's second pass is done; the weights are not updated",
  'step-updated': 'weights, slots and statistics are those of the next step; the journal knows nothing of it',
  'journal-appended': "the step's line is in the journal; no checkpoint holds the step",
  // trainer, around the steps
  evaluation: 'a batch of the val split is here; it is not scored',
  'evaluation-done': 'the whole val split is scored; the checkpoint of the epoch is not begun',
  'checkpoint-weights-written': "the checkpoint's weights are durable aside; slots and state are not written",
  'checkpoint-before-rename': 'the checkpoint is whole and durable aside; it has no name yet',
  'checkpoint-renamed': 'the checkpoint has its name; older ones are not removed, and the log does not know of it',
} as const;

export type KillPoint = keyof typeof POINTS;

const wanted = process.env['MEDIUM_RECIPE_KILL_AT'];
let reached = 0;

/** Ends the process as SIGKILL does where the environment names this point; else it costs one comparison. */
export function killPoint(point: KillPoint): void {
  if (wanted !== undefined) countTo(wanted, point);
}

function countTo(setting: string, point: KillPoint): void {
  const [, name = '', times = '1'] = /^([a-z-]+)(?::([1-9]\d*))?$/.exec(setting) ?? [];
  if (!Object.hasOwn(POINTS, name))
    throw new Fault({
      code: 'kill-point-unknown',
      received: `MEDIUM_RECIPE_KILL_AT=${setting}`,
      expected: `NAME or NAME:K with a name of ${Object.keys(POINTS).join(', ')}`,
      remedy: 'correct the variable; outside of fault tests, unset it',
      exit: 2,
    });
  if (name === point && ++reached === Number(times)) process.kill(process.pid, 'SIGKILL');
}
