// What a producer tells of itself to whoever asks who shares a run's lanes.

import { hostname } from 'node:os';

export interface ProducerAbout {
  readonly host: string;
  readonly pid: number;
  readonly windowBytes: number;
}

export function producerAbout(windowBytes: number): string {
  return JSON.stringify({ host: hostname(), pid: process.pid, windowBytes } satisfies ProducerAbout);
}

export function parseAbout(text: string): ProducerAbout {
  return JSON.parse(text) as ProducerAbout;
}
