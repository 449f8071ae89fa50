// A run's status as lines for people.

import type { RunStatus } from './status.ts';

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

export function statusLines(status: RunStatus): string[] {
  const { run, planHash, steps, laneSteps, complete, leadBytes, windowBytes, producers, unowned, awaited } = status;
  const { trainers, rates, records } = status;
  const lines = [
    `run ${run}, plan ${planHash.slice(0, 12)}: ${complete} of ${steps} steps in every lane`,
    `lanes: ${laneSteps.join(' ')}; lead ${megabytes(leadBytes)}${windowBytes === null ? '' : ` of a window of ${megabytes(windowBytes)}`}`,
  ];
  for (const { host, pid, lanes } of producers)
    lines.push(`producer ${host}/${pid}: ${lanes.length === 0 ? 'no lanes, stands by' : `lanes ${lanes.join(' ')}`}`);
  if (status.joining > 0) lines.push(`${status.joining} producers are joining: the lanes are being shared out`);
  else if (unowned.length > 0) lines.push(`nobody produces lanes ${unowned.join(' ')}: start stream produce`);
  for (const { trainer, rank, consumedStep, checkpointStep } of trainers)
    lines.push(`trainer ${trainer}/${rank}: consumed step ${consumedStep}, resumes at ${checkpointStep}`);
  if (awaited)
    lines.push(`trainer ${awaited.trainer} waits for step ${awaited.step} of lanes ${awaited.lanes.join(' ')}`);
  if (rates)
    lines.push(`images/s: ${rates.produced.toFixed(0)} produced, ${rates.consumed.toFixed(0)} by the slowest trainer`);
  for (const [topic, count] of Object.entries(records)) lines.push(`${topic}: ${count} records`);
  return lines;
}
