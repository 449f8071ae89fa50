// The project's own commands as child processes: what the quickstart runs is what a person types.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Fault } from '#shards';

export type CommandName = 'preprocess' | 'stream' | 'trainer';

export interface CommandOptions {
  /** Told of each line on stderr. */
  readonly onLine: (line: string) => void;
  /** Stops the command. */
  readonly signal: AbortSignal;
  /** Beside this process's own environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface RunningCommand {
  /** The object on the last line of stdout. Rejects with a Fault where the command fails. */
  readonly result: Promise<Record<string, unknown>>;
  stop(): void;
}

/** How long a command may take from SIGTERM to its end, ms. */
const GRACE_MS = 10_000;

/** Two lines that TensorFlow writes whenever it is loaded, before any of its settings could silence it. */
const GREETING = /absl::InitializeLog|oneDNN custom operations are on/;

/** Starts `NAME args --json`. Throws the signal's reason where that is aborted already. */
export function startCommand(
  name: CommandName,
  args: readonly string[],
  { onLine, signal, env = {} }: CommandOptions,
): RunningCommand {
  signal.throwIfAborted();
  const file = fileURLToPath(new URL(`../../${name}/cli.js`, import.meta.url));
  const child = spawn(process.execPath, [file, ...args, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (!GREETING.test(line)) onLine(line);
  });
  let last = '';
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line !== '') last = line;
  });
  const orphan = () => child.kill('SIGKILL');
  process.once('exit', orphan);
  const aborted = () => stop(child);
  signal.addEventListener('abort', aborted);
  const result = new Promise<Record<string, unknown>>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, killedBy) => {
      process.off('exit', orphan);
      signal.removeEventListener('abort', aborted);
      if (code === 0) resolve(JSON.parse(last) as Record<string, unknown>);
      else reject(failed(name, args, code ?? killedBy ?? 'nothing', last));
    });
  });
  result.catch(() => {});
  return { result, stop: () => stop(child) };
}

function failed(name: string, args: readonly string[], end: number | string, last: string): Fault {
  const command = `${name} ${args[0]}`;
  try {
    const { error } = JSON.parse(last) as {
      error: { code: string; received: string; expected: string; remedy: string };
    };
    return new Fault({ ...error, received: `${command}: ${error.received}` });
  } catch {
    return new Fault({
      code: 'command-failed',
      received: `${command} ended with ${end}`,
      expected: 'exit code 0',
      remedy: 'see its lines above',
    });
  }
}

function stop(child: ChildProcess): void {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  setTimeout(() => child.kill('SIGKILL'), GRACE_MS).unref();
}

/** Runs one command to its end. */
export async function runCommand(
  name: CommandName,
  args: readonly string[],
  options: CommandOptions,
): Promise<Record<string, unknown>> {
  return startCommand(name, args, options).result;
}
