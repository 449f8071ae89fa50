// Loaded into a process with --import: in its pool workers the reading of a sample fails, as FAILING_READS says.

import fs, { readdirSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

/** The variable holds this as JSON. */
export interface FailingReads {
  readonly how: 'throws' | 'exits' | 'runs out of memory';
  /** A worker fails at every so-manieth sample that it reads; at 0 before it is ready for a task. */
  readonly at: number;
  /** How often, all workers together. */
  readonly times: number;
  /** A folder that gets a file for each failure. */
  readonly marks: string;
}

/** One of the failures that are left is taken; no two workers take the same. */
function taken({ times, marks }: FailingReads): boolean {
  for (let failure = readdirSync(marks).length; failure < times; failure++)
    try {
      writeFileSync(join(marks, String(failure)), '', { flag: 'wx' });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  return false;
}

function fail(how: FailingReads['how']): void {
  if (how === 'throws') throw new Error('a defect in a worker');
  if (how === 'exits') process.exit(3);
  // Small objects that stay referred to: the worker's heap ends, as resourceLimits bound it, not the process.
  for (const held: object[][] = []; ; ) held.push(Array.from({ length: 1000 }, () => ({})));
}

const setting = process.env['FAILING_READS'];
if (setting && !isMainThread) {
  const failing = JSON.parse(setting) as FailingReads;
  if (failing.at === 0 && taken(failing)) fail(failing.how);
  const { openSync, readSync } = fs;
  const shards = new Set<number>();
  let reads = 0;
  const open: typeof openSync = (path, ...how) => {
    const fd = openSync(path, ...how);
    if (String(path).endsWith('.tar')) shards.add(fd);
    return fd;
  };
  const read = (...[fd, ...into]: Parameters<typeof readSync>) => {
    if (shards.has(fd) && ++reads % failing.at === 0 && taken(failing)) fail(failing.how);
    return readSync(fd, ...into);
  };
  Object.assign(fs, { openSync: open, readSync: read });
  syncBuiltinESMExports();
}
