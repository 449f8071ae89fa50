// A model's `state_dict()` in PyTorch: what it holds beside parameters and running statistics, under which names.
//
// With BlurPool the names are those of antialiased-cnns' ResNets, without it torchvision's; of any depth and width.

import type { ModelRecipe } from '#stream';
import { binomialFilter } from '../methods/blurpool/blurpool.ts';
import type { Model } from './model.ts';

export interface StateEntry {
  readonly name: string;
  /** `counter`: BatchNorm's `num_batches_tracked`. `filter`: BlurPool's constant filter, the same for each channel. */
  readonly holds: 'parameter' | 'statistic' | 'counter' | 'filter';
  readonly dtype: 'F32' | 'I64';
  /** PyTorch's: OIHW, [out, in], [channels], [channels, 1, size, size], []. */
  readonly shape: readonly number[];
}

const VARIANCE = '.running_var';
const COUNTER = '.num_batches_tracked';

/** Every entry, in PyTorch's order. */
export function stateDictOf(model: Model): StateEntry[] {
  const parameters = new Map(model.parameters.map((parameter) => [parameter.name, parameter.torchShape]));
  const channels = new Map(model.statistics.map((statistic) => [statistic.name, statistic.channels]));
  const filters = new Map(model.blurs.map((blur) => blurEntry(blur, model.recipe, parameters)));
  const entries: StateEntry[] = [];
  for (const name of model.stateNames) {
    const shape = parameters.get(name);
    // A blur stands in front of the convolution that it strides for; the stem's, behind its norm.
    const blur = shape && filters.get(name);
    if (blur) entries.push(blur);
    if (shape) entries.push({ name, holds: 'parameter', dtype: 'F32', shape });
    else entries.push({ name, holds: 'statistic', dtype: 'F32', shape: [channels.get(name) ?? 0] });
    if (!name.endsWith(VARIANCE)) continue;
    entries.push({ name: counterOf(name), holds: 'counter', dtype: 'I64', shape: [] });
    const stem = filters.get(name);
    if (stem) entries.push(stem);
  }
  return entries;
}

function counterOf(variance: string): string {
  return variance.slice(0, -VARIANCE.length) + COUNTER;
}

/** The norm that a counter belongs to. */
export function normOf(counter: string): string {
  return counter.slice(0, -COUNTER.length);
}

/** A blur's entry, by the name of what stands beside it. */
function blurEntry(
  blur: string,
  { blurpool: size, width }: ModelRecipe,
  parameters: ReadonlyMap<string, readonly number[]>,
): [beside: string, entry: StateEntry] {
  const entry = (channels: number): StateEntry => {
    if (size === false) throw new Error(`${blur}: no filter size`);
    return { name: `${blur}.filt`, holds: 'filter', dtype: 'F32', shape: [channels, 1, size, size] };
  };
  if (blur === 'maxpool.1') return [`bn1${VARIANCE}`, entry(width)];
  const strided = `${blur.slice(0, -'.0'.length)}.1.weight`;
  const [, input] = parameters.get(strided) ?? [];
  if (input === undefined) throw new Error(`${blur} stands in front of no convolution`);
  return [strided, entry(input)];
}

/** What `*.filt` holds, [channels, 1, size, size]. The taps are powers of two below one: float32 holds them exactly. */
export function filterValues([channels = 0, , size = 0]: readonly number[]): Float32Array<ArrayBuffer> {
  const row = binomialFilter(size);
  const filter = Float32Array.from({ length: size * size }, (_, i) => {
    return (row[Math.floor(i / size)] as number) * (row[i % size] as number);
  });
  const values = new Float32Array(channels * size * size);
  for (let channel = 0; channel < channels; channel++) values.set(filter, channel * size * size);
  return values;
}

/**
 * The model that tensors of these names and shapes belong to, as far as they say; null where they are no ResNet's.
 * `zeroInitGamma` cannot be seen in weights and means nothing to them.
 */
export function modelOfShapes(
  shapes: ReadonlyMap<string, readonly number[]>,
): { readonly recipe: ModelRecipe; readonly classes: number } | null {
  const width = shapes.get('conv1.weight')?.[0];
  const classes = shapes.get('fc.weight')?.[0];
  const names = [...shapes.keys()];
  const blocks = (stage: number) => {
    const found = names.map((name) => Number(new RegExp(`^layer${stage}\\.(\\d+)\\.`).exec(name)?.[1] ?? -1));
    return Math.max(...found) + 1;
  };
  if (!width || !classes) return null;
  const layers: ModelRecipe['layers'] = [blocks(1), blocks(2), blocks(3), blocks(4)];
  // More blocks than names: a damaged name, not a deep model.
  if (layers.some((count) => count === 0 || count > names.length)) return null;
  const block = names.some((name) => name.startsWith('layer1.0.conv3.')) ? 'bottleneck' : 'basic';
  const size = shapes.get('maxpool.1.filt')?.at(-1);
  return { recipe: { block, layers, width, blurpool: size ?? false, zeroInitGamma: false }, classes };
}
