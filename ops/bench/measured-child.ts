// A contender as a child process: JSON in, the JSON of its last line out, with wall time and, on Linux, CPU time by thread.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Fault } from '#shards';

export interface ChildJob {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Goes to stdin as JSON. */
  readonly input?: object;
  /** Told of stderr as it comes. */
  readonly onStderr?: (text: string) => void;
  /** Makes the result of all of stdout; without it, that is the JSON of the last line. */
  readonly read?: (stdout: string) => unknown;
  readonly signal: AbortSignal;
}

export interface Measured<Result> {
  readonly result: Result;
  /** From the start of the process to its end. */
  readonly wallSeconds: number;
  /** Seconds of the process and of its first thread alone; null where there is no /proc. Read every SAMPLE_MS. */
  readonly cpu: { readonly process: number; readonly mainThread: number } | null;
}

const SAMPLE_MS = 20;
/** Of stderr, kept for the failure's reason. */
const TAIL = 4000;

/** Runs `job` to its end. @throws the signal's reason, or Fault `contender-failed` with the last line of stderr */
export async function runMeasured<Result>(job: ChildJob): Promise<Measured<Result>> {
  job.signal.throwIfAborted();
  const started = performance.now();
  // A group of its own: Python's workers must go with their parent.
  const child = spawn(job.command, job.args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, ...job.env },
  });
  const kill = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // The group is gone already.
    }
  };
  process.once('exit', kill);
  job.signal.addEventListener('abort', kill);
  let cpu: Measured<Result>['cpu'] = null;
  const sampling = setInterval(() => {
    cpu = (child.pid === undefined ? null : cpuSeconds(child.pid)) ?? cpu;
  }, SAMPLE_MS);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-TAIL);
    job.onStderr?.(text);
  });
  child.stdin.on('error', () => {}); // a child that dies early says so by its exit code
  child.stdin.end(job.input === undefined ? '' : JSON.stringify(job.input));
  try {
    const end = await new Promise<number | string>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(code ?? signal ?? 'nothing'));
    });
    job.signal.throwIfAborted();
    if (end !== 0) throw failed(job, end, stderr);
    const wallSeconds = (performance.now() - started) / 1000;
    return { result: (job.read ?? lastObject)(stdout) as Result, wallSeconds, cpu };
  } finally {
    clearInterval(sampling);
    process.off('exit', kill);
    job.signal.removeEventListener('abort', kill);
    kill();
  }
}

const lastObject = (stdout: string): unknown => JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');

function failed({ command, args }: ChildJob, end: number | string, stderr: string): Fault {
  const lines = stderr.trim().split('\n');
  // Node ends a crash with its version, Python with the error.
  const reason = lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1);
  return new Fault({
    code: 'contender-failed',
    received: `${[command, ...args].join(' ')} ended with ${end}: ${reason}`,
    expected: 'exit code 0',
    remedy: 'run that command by hand to see all it says',
  });
}

/** /proc counts ticks of 1/100 s for the process with its ended threads, and nanoseconds for a thread that lives. */
function cpuSeconds(pid: number): Measured<unknown>['cpu'] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [mainThread = ''] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ');
    return { process: (Number(fields[11]) + Number(fields[12])) / 100, mainThread: Number(mainThread) / 1e9 };
  } catch {
    return null;
  }
}
