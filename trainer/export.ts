// `trainer export`: weights as a safetensors file that PyTorch loads strictly, into antialiased-cnns' or torchvision's ResNet.

import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { encodeTensors, Fault, type RawTensor, syncFolder, writeFileDurably } from '#shards';
import { resolvePlan } from '#stream';
import type { WeightsChoice } from './methods/ema/ema.ts';
import { samFires } from './methods/sam/sam.ts';
import { sizeOf } from './model/initial.ts';
import { toTorch } from './model/layout.ts';
import type { Model } from './model/model.ts';
import { filterValues, normOf, stateDictOf } from './model/state-dict.ts';
import type { HostValues } from './state.ts';
import { type LoadedWeights, readWeights } from './weights.ts';

export interface ExportOptions {
  /** A folder checkpoint-STEP, a trainer's OUT, whose newest is taken, or what `trainer import` wrote. */
  readonly checkpoint: string;
  /** The file to write. */
  readonly out: string;
  readonly weights: WeightsChoice | undefined;
  /** Replace the file where it is there. */
  readonly force: boolean;
}

export interface ExportResult {
  readonly checkpoint: string;
  readonly step: number;
  readonly weights: WeightsChoice;
  readonly out: string;
  readonly bytes: number;
  readonly tensors: number;
  readonly parameters: number;
  /** How PyTorch builds the model that it loads into. */
  readonly torch: string;
}

/** @throws Fault `out-exists`, and of `readWeights` */
export async function exportCheckpoint({ checkpoint, out, weights, force }: ExportOptions): Promise<ExportResult> {
  if (!force) await mustBeFree(out);
  const loaded = await readWeights(checkpoint, weights);
  const { folder, model, values, choice, step } = loaded;
  const tensors = stateDict(model, values, batchesTracked(loaded));
  const file = encodeTensors(tensors, { format: 'pt', step: String(step), weights: choice });
  await mkdir(dirname(out), { recursive: true });
  await writeFileDurably(out, file);
  await syncFolder(dirname(out));
  const parameters = model.parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const size = { bytes: file.length, tensors: tensors.length, parameters };
  return { checkpoint: folder, step, weights: choice, out, ...size, torch: torchModel(model) };
}

/** Every entry of the `state_dict()`. `batches`: how often each norm's statistics were moved, by the norm's name. */
export function stateDict(model: Model, values: HostValues, batches: (norm: string) => number): RawTensor[] {
  const parameters = new Map(model.parameters.map((parameter) => [parameter.name, parameter]));
  return stateDictOf(model).map(({ name, holds, dtype, shape }): RawTensor => {
    if (holds === 'counter')
      return { name, dtype, shape, data: bytesOf(BigInt64Array.of(BigInt(batches(normOf(name))))) };
    if (holds === 'filter') return { name, dtype, shape, data: bytesOf(filterValues(shape)) };
    const parameter = parameters.get(name);
    const found = parameter ? values.weights[name] : values.statistics[name];
    if (!found) throw new Error(`no values for '${name}'`);
    return { name, dtype, shape, data: bytesOf(parameter ? toTorch(parameter, found) : found) };
  });
}

/**
 * `num_batches_tracked`: the batches that moved a norm's running statistics, a step's groups counted as one. In FixRes
 * phases only the last norm's move; SAM's second pass counts where `bnSecondPass` lets it. 0 for imported weights.
 * PyTorch uses the number only with `momentum=None`.
 */
function batchesTracked({ model, checkpoint, step }: LoadedWeights): (norm: string) => number {
  if (!checkpoint) return () => 0;
  const { recipe, dataset } = checkpoint;
  let [all, last] = [0, 0];
  for (const { index, firstStep, stepsPerEpoch, epochs } of resolvePlan(recipe, dataset).phases) {
    const end = Math.min(step, firstStep + stepsPerEpoch * epochs);
    const steps = Math.max(0, end - firstStep);
    if (recipe.phases[index]?.fixres) {
      last += steps;
      continue;
    }
    all += steps;
    const { sam } = recipe;
    if (sam === false || !sam.bnSecondPass) continue;
    for (let at = firstStep; at < end; at++) all += Number(samFires(at, sam));
  }
  return (norm) => (norm === model.lastNorm ? all + last : all);
}

const NAMED = new Map([
  ['basic 2,2,2,2', 'resnet18'],
  ['basic 3,4,6,3', 'resnet34'],
  ['bottleneck 3,4,6,3', 'resnet50'],
  ['bottleneck 3,4,23,3', 'resnet101'],
  ['bottleneck 3,8,36,3', 'resnet152'],
]);

/** As a person writes it in Python; of another width or depth, whose names it follows. */
function torchModel({ recipe: { block, layers, width, blurpool }, classes }: Model): string {
  const name = width === 64 ? NAMED.get(`${block} ${layers}`) : undefined;
  const library = blurpool === false ? 'torchvision.models' : 'antialiased_cnns';
  if (!name) return `${library}' names, ${block} blocks [${layers}], width ${width}`;
  const filter = blurpool === false ? '' : `, filter_size=${blurpool}`;
  return `${library}.${name}(num_classes=${classes}${filter})`;
}

async function mustBeFree(out: string): Promise<void> {
  const found = await stat(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (!found) return;
  throw new Fault({
    code: 'out-exists',
    received: `--out ${out}, which is there already`,
    expected: 'a name that nothing has',
    remedy: 'choose another --out, or add --force to replace it',
  });
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
