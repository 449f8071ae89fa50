// The project's commands as child processes of a test: run to the end, or killed on the way.

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Command {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts `NAME args`, with `env` beside the test's own; killed with the test's process if it still runs then. */
export function start(
  name: 'preprocess' | 'stream' | 'trainer' | 'ops',
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Command {
  const file = fileURLToPath(new URL(`../${name}/cli.js`, import.meta.url));
  const child = spawn(process.execPath, [file, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  running.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => {
    stdout += data.toString();
  });
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      running.delete(child);
      resolve({ code, signal, stdout, stderr });
    });
  });
  return { child, ended };
}

export function run(...command: Parameters<typeof start>): Promise<Ended> {
  return start(...command).ended;
}

/** Resolves when `condition` does with true; rejects when the command ends first. */
export async function until(command: Command, condition: () => Promise<boolean>): Promise<void> {
  let ended: Ended | undefined;
  void command.ended.then((end) => {
    ended = end;
  });
  while (!(await condition())) {
    if (ended) throw new Error(`the command ended too early: ${JSON.stringify(ended)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
