// Which process it is, beyond its number, which the system gives to another one day.

import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';

export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, where /proc tells. */
  readonly started: string | null;
  readonly host: string;
}

export async function identityOf(pid: number): Promise<ProcessIdentity> {
  return { pid, started: await startOf(pid), host: hostname() };
}

/** Field 22 of /proc/PID/stat, in clock ticks since boot; null where there is no such file, or the process has ended. */
async function startOf(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (stat === null) return null;
  // The command's name may hold spaces; it ends at the last parenthesis.
  const [state = '', ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie: nobody has asked how it ended.
  return 'ZX'.includes(state) ? null : (fields[18] ?? null);
}

/** False where the process is surely gone: another machine's cannot be seen from here. */
export async function lives({ pid, started, host }: ProcessIdentity): Promise<boolean> {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return started === (await startOf(pid));
}
