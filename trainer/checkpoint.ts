// Checkpoints: a folder that holds everything a run needs to go on, written aside, made durable, then renamed.
//
//   OUT/checkpoint-STEP/              STEP with at least 8 digits: the number of steps done
//     weights.safetensors             parameters and running statistics, F32, in PyTorch's names, order and layouts
//     optimizer.safetensors           the momentum buffer of each parameter, under the parameter's name, same layouts
//     ema.safetensors                 the average of parameters and running statistics, as weights.safetensors; only
//                                     where the recipe has `ema`
//     state.json                      canonical JSON and a newline: {classes, dataset, files: {FILE: sha256}, format,
//                                     numerics, planHash, recipe, step, trainHash}, and `score` after an evaluation
//     SHA256SUMS                      of all files above, state.json too; older checkpoints have none
//
// Recipe and dataset give back plan and model, so that a refused resume can name the first key that differs.

import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import {
  canonicalJson,
  decodeTensors,
  encodeTensors,
  Fault,
  killPoint,
  type RawTensor,
  syncFolder,
  valuesOf,
  writeFileDurably,
} from '#shards';
import { type DatasetIdentity, parseRecipe, type Recipe } from '#stream';
import type { Numerics } from './backend/backend.ts';
import { readSums, SUMS, sha256, sumOf, sumsText } from './checksums.ts';
import { fromTorch, toTorch } from './model/layout.ts';
import type { Model, Parameter } from './model/model.ts';
import { buildModel } from './model/resnet.ts';
import type { HostState, HostValues } from './state.ts';

const FORMAT = 'medium-recipe/checkpoint@1';
const WEIGHTS = 'weights.safetensors';
const OPTIMIZER = 'optimizer.safetensors';
const EMA = 'ema.safetensors';
const STATE = 'state.json';
const NAME = /^checkpoint-(\d{8,})$/;
/** What has this ending is being written or removed; nobody reads it. */
export const ASIDE = '.tmp';

const scoreSchema = z.object({
  /** Of the epoch that it ended. */
  epoch: z.int().min(0),
  resolution: z.int().positive(),
  samples: z.int().min(0),
  top1: z.number(),
  top5: z.number(),
  loss: z.number(),
});

/** An evaluation on the run's val split. */
export type Score = z.infer<typeof scoreSchema>;

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const stateSchema = z.object({
  format: z.literal(FORMAT),
  step: z.int().min(0),
  planHash: z.string(),
  trainHash: z.string(),
  classes: z.int().positive(),
  /** Checked by `parseRecipe`. */
  recipe: z.unknown(),
  dataset: z.object({ sha256: z.string(), counts: z.object({ train: z.int(), val: z.int() }) }),
  numerics: z.object({
    backend: z.enum(['tfjs-node', 'wasm']),
    libraryVersion: z.string(),
    threads: z.int(),
    arch: z.string(),
    isa: z.string(),
    engine: z.string(),
  }),
  files: z.object({ [WEIGHTS]: digest, [OPTIMIZER]: digest, [EMA]: digest.optional() }),
  score: scoreSchema.optional(),
});
type Description = z.infer<typeof stateSchema>;

export interface Checkpoint {
  readonly state: HostState;
  readonly model: Model;
  /** As trained, with every `--set`. */
  readonly recipe: Recipe;
  readonly dataset: DatasetIdentity;
  readonly planHash: string;
  readonly trainHash: string;
  readonly numerics: Numerics;
  /** Of this state, where it was evaluated. */
  readonly score?: Score;
}

/** Writes OUT/checkpoint-STEP and returns the folder. Equal input, equal bytes. */
export async function writeCheckpoint(out: string, checkpoint: Checkpoint): Promise<string> {
  const { state, model, recipe, dataset, planHash, trainHash, numerics, score } = checkpoint;
  const folder = join(out, `checkpoint-${String(state.step).padStart(8, '0')}`);
  const aside = folder + ASIDE;
  const { average } = state;
  if (Boolean(recipe.ema) !== (average !== null))
    throw new Error('an average belongs to a recipe with ema, and to no other');
  const files = { [WEIGHTS]: encodeWeights(model, state), [OPTIMIZER]: encodeSlots(model, state) };
  const ema = average && encodeWeights(model, average);
  const description: Description = {
    format: FORMAT,
    step: state.step,
    planHash,
    trainHash,
    classes: model.classes,
    recipe,
    dataset,
    numerics,
    files: {
      [WEIGHTS]: sha256(files[WEIGHTS]),
      [OPTIMIZER]: sha256(files[OPTIMIZER]),
      ...(ema && { [EMA]: sha256(ema) }),
    },
    ...(score && { score }),
  };
  const text = `${canonicalJson(description)}\n`;
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true });
  await writeFileDurably(join(aside, WEIGHTS), files[WEIGHTS]);
  killPoint('checkpoint-weights-written', state.step);
  await writeFileDurably(join(aside, OPTIMIZER), files[OPTIMIZER]);
  if (ema) await writeFileDurably(join(aside, EMA), ema);
  await writeFileDurably(join(aside, STATE), text);
  killPoint('checkpoint-state-written', state.step);
  await writeFileDurably(join(aside, SUMS), sumsText({ ...description.files, [STATE]: sha256(text) }));
  await syncFolder(aside);
  killPoint('checkpoint-before-rename', state.step);
  // A folder of this step is there only when a run was resumed behind it; its bytes are to be replaced.
  await removeCheckpoint(folder);
  await rename(aside, folder);
  await syncFolder(out);
  killPoint('checkpoint-renamed', state.step);
  return folder;
}

/** Takes the name away first, so that a removal cut short leaves nothing that looks whole. */
export async function removeCheckpoint(folder: string): Promise<void> {
  const doomed = `${folder}.old${ASIDE}`;
  try {
    await rename(folder, doomed);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  killPoint('checkpoint-removing', stepOf(folder));
  await rm(doomed, { recursive: true, force: true });
}

/** Whole checkpoints of OUT, oldest first; none where OUT does not exist. */
export async function checkpointsIn(out: string): Promise<string[]> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names
    .filter((name) => NAME.test(name))
    .sort((a, b) => stepOf(a) - stepOf(b))
    .map((name) => join(out, name));
}

function stepOf(folder: string): number {
  return Number(NAME.exec(basename(folder))?.[1]);
}

/** The newest checkpoint's folder, or null. */
export async function latestCheckpoint(out: string): Promise<string | null> {
  return (await checkpointsIn(out)).at(-1) ?? null;
}

/**
 * Reads a checkpoint and checks every byte of it.
 * @throws Fault `checkpoint-missing`, `checkpoint-damaged` (names the file), `checkpoint-format`.
 */
export async function readCheckpoint(folder: string): Promise<Checkpoint> {
  const description = await readDescription(folder);
  const recipe = parseRecipe(description.recipe, join(folder, STATE));
  const model = buildModel(recipe.model, description.classes);
  const { [EMA]: emaDigest } = description.files;
  if (Boolean(recipe.ema) !== (emaDigest !== undefined))
    throw damaged(
      folder,
      STATE,
      `a recipe ${recipe.ema ? 'with' : 'without'} ema and files ${Object.keys(description.files).join(', ')}`,
      `${EMA} exactly where the recipe has ema`,
    );
  const load = async (name: typeof WEIGHTS | typeof OPTIMIZER | typeof EMA) => {
    const bytes = await read(folder, name);
    const found = sha256(bytes);
    const expected = description.files[name];
    if (found !== expected) throw damaged(folder, name, `sha256 ${found}`, `sha256 ${expected}`);
    return decodeTensors(bytes).tensors;
  };
  const value = (name: string, tensors: ReadonlyMap<string, RawTensor>, shape: readonly number[], file: string) => {
    const tensor = tensors.get(name);
    if (!tensor || tensor.shape.join() !== shape.join())
      throw damaged(
        folder,
        file,
        tensor ? `'${name}' of [${tensor.shape}]` : `no '${name}'`,
        `'${name}' of [${shape}]`,
      );
    return valuesOf(tensor, 'F32');
  };
  const parameters = (tensors: ReadonlyMap<string, RawTensor>, file: string) =>
    Object.fromEntries(
      model.parameters.map((parameter) => [
        parameter.name,
        fromTorch(parameter, value(parameter.name, tensors, parameter.torchShape, file)),
      ]),
    );
  const values = (tensors: ReadonlyMap<string, RawTensor>, file: string): HostValues => ({
    weights: parameters(tensors, file),
    statistics: Object.fromEntries(
      model.statistics.map(({ name, channels }) => [name, Float32Array.from(value(name, tensors, [channels], file))]),
    ),
  });
  const { step, dataset, planHash, trainHash, numerics } = description;
  const { score } = description;
  const state = {
    step,
    ...values(await load(WEIGHTS), WEIGHTS),
    slots: parameters(await load(OPTIMIZER), OPTIMIZER),
    average: emaDigest === undefined ? null : values(await load(EMA), EMA),
  };
  return { state, model, recipe, dataset, planHash, trainHash, numerics, ...(score && { score }) };
}

function encodeWeights(model: Model, { weights, statistics }: HostValues): Buffer {
  const parameters = new Map(model.parameters.map((parameter) => [parameter.name, parameter]));
  const tensors = model.stateNames.map((name) => {
    const parameter = parameters.get(name);
    const values = parameter ? weights[name] : statistics[name];
    return rawTensor(name, parameter, values);
  });
  return encodeTensors(tensors, { format: 'pt' });
}

function encodeSlots(model: Model, { slots }: HostState): Buffer {
  const tensors = model.parameters.map((parameter) => rawTensor(parameter.name, parameter, slots[parameter.name]));
  return encodeTensors(tensors, { format: 'pt' });
}

function rawTensor(name: string, parameter: Parameter | undefined, values: Float32Array | undefined): RawTensor {
  if (!values) throw new Error(`the state holds no '${name}'`);
  const torch = parameter ? toTorch(parameter, values) : values;
  const data = new Uint8Array(torch.buffer, torch.byteOffset, torch.byteLength);
  return { name, dtype: 'F32', shape: parameter?.torchShape ?? [values.length], data };
}

/** The score that a checkpoint was saved with; null where it was not evaluated. Checks state.json, not the tensors. */
export async function readScore(folder: string): Promise<Score | null> {
  return (await readDescription(folder)).score ?? null;
}

async function readDescription(folder: string): Promise<Description> {
  const bytes = await read(folder, STATE);
  const sums = await readSums(folder);
  if (sums === null) return parseState(folder, bytes);
  const found = sha256(bytes);
  const expected = sumOf(sums, STATE);
  if (found !== expected)
    throw damaged(folder, STATE, `sha256 ${found}`, `sha256 ${expected ?? '(none)'}, as in ${SUMS}`);
  const description = parseState(folder, bytes);
  const text = sumsText({ ...description.files, [STATE]: found });
  if (sums !== text) throw damaged(folder, SUMS, `other sums than ${STATE} has`, 'the same');
  return description;
}

async function read(folder: string, name: string): Promise<Buffer> {
  try {
    return await readFile(join(folder, name));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Fault({
      code: 'checkpoint-missing',
      received: `${join(folder, name)} (${code})`,
      expected: `a checkpoint: ${WEIGHTS}, ${OPTIMIZER} and ${STATE}`,
      remedy: 'give a folder checkpoint-STEP that the trainer wrote',
      cause,
    });
  }
}

function parseState(folder: string, bytes: Buffer): z.infer<typeof stateSchema> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw damaged(folder, STATE, 'text that is not JSON', 'canonical JSON');
  }
  const format = (value as { format?: unknown } | null)?.format;
  if (format !== FORMAT)
    throw new Fault({
      code: 'checkpoint-format',
      received: `${join(folder, STATE)}: format ${JSON.stringify(format)}`,
      expected: FORMAT,
      remedy: 'read it with the version that wrote it',
    });
  const result = stateSchema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw damaged(folder, STATE, `${issue?.path.join('.')}: ${issue?.message}`, 'the fields of a checkpoint');
}

function damaged(folder: string, file: string, received: string, expected: string): Fault {
  return new Fault({
    code: 'checkpoint-damaged',
    received: `${join(folder, file)}: ${received}`,
    expected,
    remedy:
      'remove this folder and start again with --resume: it goes on from the checkpoint before it, or from step 0, to the same bits; where the log no longer holds the steps since then, the trainer names the command that makes them again',
  });
}
