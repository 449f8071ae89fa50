// sharp decodes on libuv's threads: four a process, and their number is fixed before an ES module's first line runs.
// More workers than that would wait in line, so the command runs itself again with enough of them.

import { spawn } from 'node:child_process';

const LIBUV_THREADS = 4;

/** Whether this process has too few threads for so many workers and nobody chose their number. */
export function needsMoreThreads(workers: number, env: NodeJS.ProcessEnv = process.env): boolean {
  return workers > LIBUV_THREADS && env['UV_THREADPOOL_SIZE'] === undefined;
}

/**
 * Runs this process's command again in a child with one libuv thread a worker and two for files; resolves to its exit
 * code. Signals to this process go on to the child, and the child stops when this process dies (its channel closes).
 */
export async function rerunWithThreads(workers: number): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    env: { ...process.env, UV_THREADPOOL_SIZE: String(workers + 2) },
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    // A terminal signals its whole group: the child would get each signal twice, and the second one ends it at once.
    detached: true,
  });
  const pass = (signal: NodeJS.Signals): void => {
    child.kill(signal);
  };
  process.on('SIGINT', pass);
  process.on('SIGTERM', pass);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => resolve(code ?? 1));
    });
  } finally {
    process.off('SIGINT', pass);
    process.off('SIGTERM', pass);
  }
}
