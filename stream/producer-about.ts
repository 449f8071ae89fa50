// What a producer tells of itself to whoever asks who shares a run's lanes.

import { hostname } from 'node:os';

/** What `stream status` shows of a producer. */
export interface ProducerAbout {
  readonly host: string;
  readonly pid: number;
  readonly windowBytes: number;
}

export function producerAbout(windowBytes: number): string {
  return JSON.stringify({ host: hostname(), pid: process.pid, windowBytes } satisfies ProducerAbout);
}
