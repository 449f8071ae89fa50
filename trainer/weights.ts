// Weights without a run: what evaluation, export and a fine-tune take, from a checkpoint or from an imported folder.
//
//   DIR/weights.safetensors     as in a checkpoint: parameters and running statistics, F32, PyTorch's names and layouts
//   DIR/model.json              canonical JSON and a newline: {classes, files: {FILE: sha256}, format, model, origin}

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { decodeTensors, Fault, type RawTensor, valuesOf } from '#shards';
import type { ModelRecipe, Recipe } from '#stream';
import { type Checkpoint, latestCheckpoint, readCheckpoint } from './checkpoint.ts';
import { sha256 } from './checksums.ts';
import type { WeightsChoice } from './methods/ema/ema.ts';
import { fromTorch } from './model/layout.ts';
import type { Model } from './model/model.ts';
import { buildModel } from './model/resnet.ts';
import type { HostState, HostValues } from './state.ts';

export const WEIGHTS_FORMAT = 'medium-recipe/weights@1';
export const WEIGHTS_FILE = 'weights.safetensors';
export const MODEL_FILE = 'model.json';

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const modelSchema = z.object({
  format: z.literal(WEIGHTS_FORMAT),
  classes: z.int().positive(),
  model: z.object({
    block: z.enum(['bottleneck', 'basic']),
    layers: z.tuple([z.int(), z.int(), z.int(), z.int()]),
    width: z.int(),
    blurpool: z.union([z.int(), z.literal(false)]),
    zeroInitGamma: z.boolean(),
  }),
  /** What it was imported from. */
  origin: z.object({ file: z.string(), sha256: digest }),
  files: z.object({ [WEIGHTS_FILE]: digest }),
});
export type WeightsDescription = z.infer<typeof modelSchema>;

export interface LoadedWeights {
  /** The folder that was read. */
  readonly folder: string;
  readonly model: Model;
  readonly values: HostValues;
  /** Which of a checkpoint's they are; imported ones are `trained`. */
  readonly choice: WeightsChoice;
  /** Steps of the run that they come from; 0 for imported ones. */
  readonly step: number;
  /** The run's, null for imported ones. */
  readonly checkpoint: Pick<Checkpoint, 'recipe' | 'dataset'> | null;
  /** Null for a checkpoint's. */
  readonly origin: WeightsDescription['origin'] | null;
}

/**
 * @param dir a folder checkpoint-STEP, a trainer's OUT, whose newest is taken, or what `trainer import` wrote
 * @param choice default: the average where the checkpoint has one, else as trained
 * @throws Fault `no-average`, and of `readCheckpoint`
 */
export async function readWeights(dir: string, choice?: WeightsChoice): Promise<LoadedWeights> {
  if (existsSync(join(dir, MODEL_FILE))) return readImported(dir, choice);
  const folder = (await latestCheckpoint(dir)) ?? dir;
  const { state, model, recipe, dataset } = await readCheckpoint(folder);
  const chosen = choose(folder, state, choice);
  return { folder, model, ...chosen, step: state.step, checkpoint: { recipe, dataset }, origin: null };
}

/** The one place that knows which of a state's weights to take. */
function choose(
  folder: string,
  { weights, statistics, average }: HostState,
  choice: WeightsChoice | undefined,
): Pick<LoadedWeights, 'values' | 'choice'> {
  if (choice === 'average' && !average) throw noAverage(folder);
  return average && choice !== 'trained'
    ? { values: average, choice: 'average' }
    : { values: { weights, statistics }, choice: 'trained' };
}

function noAverage(folder: string): Fault {
  return new Fault({
    code: 'no-average',
    received: `--weights average, and ${folder} holds none`,
    expected: 'weights of a run whose recipe has ema',
    remedy: 'leave --weights out, or train with ema',
    exit: 2,
  });
}

async function readImported(folder: string, choice: WeightsChoice | undefined): Promise<LoadedWeights> {
  if (choice === 'average') throw noAverage(folder);
  const description = parseDescription(folder, await readFile(join(folder, MODEL_FILE), 'utf8'));
  const bytes = await readFile(join(folder, WEIGHTS_FILE)).catch((cause: NodeJS.ErrnoException) => {
    throw damaged(folder, WEIGHTS_FILE, `cannot be read (${cause.code})`, 'the weights that model.json belongs to');
  });
  const found = sha256(bytes);
  const expected = description.files[WEIGHTS_FILE];
  if (found !== expected) throw damaged(folder, WEIGHTS_FILE, `sha256 ${found}`, `sha256 ${expected}`);
  const model = buildModel(description.model, description.classes);
  const { tensors } = decodeTensors(bytes, join(folder, WEIGHTS_FILE));
  const values = valuesFromTorch(model, (name) => valuesOf(tensors.get(name) as RawTensor, 'F32'));
  const { origin } = description;
  return { folder, model, values, choice: 'trained', step: 0, checkpoint: null, origin };
}

/** Every parameter and statistic in the memory layout; `valuesIn` gives them in PyTorch's. */
export function valuesFromTorch(model: Model, valuesIn: (name: string) => Float32Array): HostValues {
  const weights: Record<string, Float32Array> = {};
  const statistics: Record<string, Float32Array> = {};
  for (const parameter of model.parameters) weights[parameter.name] = fromTorch(parameter, valuesIn(parameter.name));
  for (const { name } of model.statistics) statistics[name] = Float32Array.from(valuesIn(name));
  return { weights, statistics };
}

/** What evaluation takes from the recipe; of imported weights, what published figures are for. */
export function evaluationDefaults(recipe: Recipe | undefined): { resolution: number; cropRatio: number } {
  if (!recipe) return { resolution: 224, cropRatio: 0.875 };
  return { resolution: recipe.phases.at(-1)?.resolution ?? 0, cropRatio: recipe.evaluation.cropRatio };
}

/** As `{ block, layers, width, blurpool }`: what two models must share to share weights. */
export function architectureOf({ block, layers, width, blurpool }: ModelRecipe): Record<string, unknown> {
  return { block, layers, width, blurpool };
}

function parseDescription(folder: string, text: string): WeightsDescription {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged(folder, MODEL_FILE, 'text that is not JSON', 'canonical JSON');
  }
  const result = modelSchema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw damaged(folder, MODEL_FILE, `${issue?.path.join('.')}: ${issue?.message}`, `a ${WEIGHTS_FORMAT}`);
}

function damaged(folder: string, file: string, received: string, expected: string): Fault {
  return new Fault({
    code: 'weights-damaged',
    received: `${join(folder, file)}: ${received}`,
    expected,
    remedy: "import them anew with 'trainer import'",
  });
}
