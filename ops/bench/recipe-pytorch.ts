// The same recipe in PyTorch on the very same records, from the same initial weights: ops/python/train.py as a peer.

import { execFile, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Fault, type Manifest } from '#shards';
import { planHashOf, type Recipe, resolvePlan, trainHashOf } from '#stream';
import { buildModel, createState, disposeState, downloadState, loadBackend, writeCheckpoint } from '#trainer';
import { type CommandOptions, runCommand } from '../quickstart/commands.ts';
import { packageRoot } from '../setup/plain.ts';
import { pythonWith } from './python.ts';
import { folderOf, type Job, type Place, type Stream, type Training } from './recipe-trainings.ts';

const SCRIPT = fileURLToPath(new URL('ops/python/train.py', packageRoot));
/** What train.py imports where it reads files; the pins are those of ops/python/requirements.txt. */
const PACKAGES = ['torch==2.15.0', 'numpy==2.4.6', 'safetensors==0.8.0'];
const IMPORTS = 'torch, numpy, safetensors';

/**
 * @param python an interpreter that has torch, numpy and safetensors; null installs them in the cache, 5 GB.
 * @throws Fault `python-packages`, `no-python`
 */
export async function torchPython(python: string | null, say: (line: string) => void): Promise<string> {
  if (python === null) return pythonWith(PACKAGES, say);
  try {
    await promisify(execFile)(python, ['-c', `import ${IMPORTS}`]);
    return python;
  } catch (cause) {
    const { stderr, message } = cause as Error & { stderr?: string };
    throw new Fault({
      code: 'python-packages',
      received: `--python ${python}: ${(stderr || message).trim().split('\n').at(-1)}`,
      expected: `an interpreter that imports ${IMPORTS}`,
      remedy: `${python} -m pip install ${PACKAGES.join(' ')}, or leave --python away to have them installed in the cache`,
      exit: 2,
      cause,
    });
  }
}

/** Writes what `trainer consume` starts from, as a checkpoint of step 0 in `out`. Returns its folder. */
export async function writeInitialCheckpoint(
  out: string,
  recipe: Recipe,
  dataset: Manifest['dataset'],
  backendName: string,
): Promise<string> {
  const backend = await loadBackend(backendName);
  const model = buildModel(recipe.model, dataset.classes.length);
  const state = createState(backend, model, recipe.seed, { average: recipe.ema !== false });
  const host = await downloadState(state);
  disposeState(backend, state);
  const { sha256, counts } = dataset;
  return writeCheckpoint(out, {
    state: host,
    model,
    recipe,
    dataset: { sha256, counts },
    planHash: planHashOf(resolvePlan(recipe, dataset)),
    trainHash: trainHashOf(recipe),
    numerics: backend.numerics,
  });
}

/** A line of train.py. */
export interface PythonStep {
  readonly step: number;
  readonly loss: number;
  readonly lr: number;
  readonly ms: number;
}

/** Runs train.py on the files of a replay, to the end of its steps. Fault `python-failed`. */
export async function runTrainPy(
  python: string,
  args: readonly string[],
  { signal, env = process.env }: { signal?: AbortSignal; env?: NodeJS.ProcessEnv },
): Promise<readonly PythonStep[]> {
  const child = spawn(python, [SCRIPT, ...args], { stdio: ['ignore', 'pipe', 'pipe'], signal, env });
  const orphan = () => child.kill('SIGKILL');
  process.once('exit', orphan);
  const steps: PythonStep[] = [];
  let stderr = '';
  createInterface({ input: child.stdout }).on('line', (line) => steps.push(JSON.parse(line) as PythonStep));
  child.stderr.on('data', (data: Buffer) => {
    stderr = (stderr + data).slice(-4000);
  });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    if (code === 0) return steps;
    throw new Fault({
      code: 'python-failed',
      received: `${SCRIPT} ended with ${code}: ${stderr.trim().split('\n').at(-1)}`,
      expected: 'exit code 0',
      remedy: `run it: ${python} ${SCRIPT} ${args.join(' ')}`,
    });
  } finally {
    process.off('exit', orphan);
  }
}

/** Trains in PyTorch from our initial weights on the stream's records, proved by the ledger while they are read. */
export async function trainInPytorch(
  job: Job,
  stream: Stream,
  place: Place,
  { python, dataset }: { python: string; dataset: Manifest['dataset'] },
  options: CommandOptions,
): Promise<Training> {
  const { row, seed, who, planHash, trainHash, recipe } = job;
  const { backend, threads } = place;
  const folder = folderOf(job, place);
  const records = join(folder, 'records');
  await rm(folder, { recursive: true, force: true });
  const checkpoint = await writeInitialCheckpoint(join(folder, 'initial'), recipe, dataset, backend);
  const run = ['--run', stream.run, '--transport', stream.transport];
  await runCommand('stream', ['replay', ...run, '--verify', '--to', records], options);
  const started = performance.now();
  const args = ['--checkpoint', checkpoint, '--records', records, '--threads', String(threads)];
  const steps = await runTrainPy(python, args, { signal: options.signal });
  const seconds = (performance.now() - started) / 1000;
  await rm(folder, { recursive: true });
  const msPerStep = resolvePlan(recipe, dataset).phases.map(({ firstStep, epochs, stepsPerEpoch }) => {
    const times = steps.slice(firstStep, firstStep + epochs * stepsPerEpoch).map(({ ms }) => ms);
    return times.sort((a, b) => a - b)[times.length >> 1] ?? Number.NaN; // the first step of a shape takes seconds
  });
  const losses = steps.map(({ loss }) => loss);
  const about = { row: row.name, seed, who, planHash, trainHash, backend, threads };
  return { ...about, losses, msPerStep, seconds, train: null, val: null };
}
