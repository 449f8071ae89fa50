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

type Name = 'preprocess' | 'stream' | 'trainer' | 'ops';

const argumentsOf = (name: Name, args: readonly string[]) => [
  fileURLToPath(new URL(`../${name}/cli.js`, import.meta.url)),
  ...args,
];

/** Starts `NAME args`, with `env` beside the test's own; killed with the test's process if it still runs then. */
export function start(name: Name, args: readonly string[], env: NodeJS.ProcessEnv = {}): Command {
  return launch(process.execPath, argumentsOf(name, args), env);
}

/** Open MPI by default refuses root and more ranks than cores, and binds each rank to a core. MPICH does none of it. */
const MPI_ENVIRONMENT = {
  OMPI_ALLOW_RUN_AS_ROOT: '1',
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
  OMPI_MCA_rmaps_base_oversubscribe: '1',
  OMPI_MCA_hwloc_base_binding_policy: 'none',
  OMPI_MCA_oob_tcp_if_include: '127.0.0.0/8',
  OMPI_MCA_btl_tcp_if_include: '127.0.0.0/8',
};

/** Starts a rank of `trainer` with each of the argument lists, under one mpirun. */
export function startRanks(ranks: readonly (readonly string[])[]): Command {
  const each = ranks.map((args) => ['-n', '1', process.execPath, ...argumentsOf('trainer', args)]);
  const parts = each.flatMap((rank, i) => (i === 0 ? rank : [':', ...rank]));
  return launch('mpirun', parts, MPI_ENVIRONMENT);
}

function launch(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Command {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
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

export function run(name: Name, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended> {
  return start(name, args, env).ended;
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
