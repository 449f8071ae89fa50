// How a run ends that was told to stop before the plan's end.

import { Fault } from '#shards';

export function interrupted(where: string): Fault {
  return new Fault({
    code: 'interrupted',
    received: `a signal to stop ${where}`,
    expected: 'the end of the plan',
    remedy: 'start the same command with --resume: it goes on from there',
  });
}
