// `trainer import`: a PyTorch `state_dict()` in a safetensors file becomes a folder that evaluation, export and training take.

import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import {
  canonicalJson,
  decodeTensors,
  encodeTensors,
  Fault,
  type RawTensor,
  syncFolder,
  writeFileDurably,
} from '#shards';
import { sha256 } from './checksums.ts';
import { asFloat32, type FloatName, isFloat } from './float.ts';
import { sizeOf } from './model/initial.ts';
import type { Model } from './model/model.ts';
import { buildModel } from './model/resnet.ts';
import { filterValues, modelOfShapes, type StateEntry, stateDictOf } from './model/state-dict.ts';
import { MODEL_FILE, WEIGHTS_FILE, WEIGHTS_FORMAT, type WeightsDescription } from './weights.ts';

export interface ImportOptions {
  /** A safetensors file of a `state_dict()`. */
  readonly weights: string;
  /** The folder to make; may be there if it is empty. */
  readonly out: string;
  /** Replace an import that is there. */
  readonly force: boolean;
  readonly onLine: (line: string) => void;
}

export interface ImportResult {
  readonly out: string;
  readonly model: Model['recipe'];
  readonly classes: number;
  readonly parameters: number;
  /** Formats that were converted to F32, with the number of tensors. */
  readonly converted: Readonly<Record<string, number>>;
}

/**
 * Block, layers, width, filter and classes follow from names and shapes; then every name, shape and value is checked.
 * @throws Fault `import-unreadable`, `import-no-resnet`, `import-other-keys`, `import-other-filter`, `import-not-finite`,
 * `out-exists`, `safetensors-damaged`
 */
export async function importWeights({ weights: file, out, force, onLine }: ImportOptions): Promise<ImportResult> {
  await mustBeFree(out, force);
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new Fault({
      code: 'import-unreadable',
      received: `--weights ${file} (${cause.code})`,
      expected: 'a safetensors file',
      remedy: "in Python: safetensors.torch.save_file(model.state_dict(), 'FILE.safetensors')",
      cause,
    });
  });
  const tensors = withoutPrefix(decodeTensors(bytes, file).tensors, onLine);
  const shapes = new Map([...tensors].map(([name, { shape }]) => [name, shape]));
  const found = modelOfShapes(shapes);
  if (!found) throw noResNet(file, tensors);
  checkFilterSize(file, found.recipe.blurpool);
  const model = buildModel(found.recipe, found.classes);
  const converted: Record<string, number> = {};
  const entries = checked(file, model, tensors);
  const own = entries.filter(({ holds }) => holds === 'parameter' || holds === 'statistic');
  const saved = own.map(({ name, shape }): RawTensor => {
    const tensor = tensors.get(name) as RawTensor & { dtype: FloatName };
    if (tensor.dtype !== 'F32') converted[tensor.dtype] = (converted[tensor.dtype] ?? 0) + 1;
    const values = finite(file, name, asFloat32(tensor));
    return { name, dtype: 'F32', shape, data: new Uint8Array(values.buffer) };
  });
  for (const [dtype, count] of Object.entries(converted)) onLine(`${count} tensors of ${dtype} become F32`);
  await write(out, encodeTensors(saved, { format: 'pt' }), {
    format: WEIGHTS_FORMAT,
    classes: found.classes,
    model: found.recipe,
    origin: { file: basename(file), sha256: sha256(bytes) },
  });
  const parameters = model.parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  return { out, model: found.recipe, classes: found.classes, parameters, converted };
}

/** `nn.DataParallel` and DistributedDataParallel put `module.` before every name. */
function withoutPrefix(
  tensors: ReadonlyMap<string, RawTensor>,
  onLine: (line: string) => void,
): ReadonlyMap<string, RawTensor> {
  const prefix = 'module.';
  const names = [...tensors.keys()];
  if (names.length === 0 || !names.every((name) => name.startsWith(prefix))) return tensors;
  onLine(`'${prefix}' is taken off every name`);
  return new Map([...tensors].map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

/** The model's entries, if the file has all of them, no other, and each in its shape and kind of number. */
function checked(file: string, model: Model, tensors: ReadonlyMap<string, RawTensor>): StateEntry[] {
  const entries = stateDictOf(model);
  const known = new Set(entries.map(({ name }) => name));
  // Files from before PyTorch 0.4.1 have no counters; nothing here depends on them.
  const missing = entries.filter(({ name, holds }) => holds !== 'counter' && !tensors.has(name));
  const unexpected = [...tensors.keys()].filter((name) => !known.has(name));
  const wrong = entries.filter(({ name, shape, holds }) => {
    const tensor = tensors.get(name);
    if (!tensor) return false;
    return tensor.shape.join() !== shape.join() || (holds !== 'counter' && !isFloat(tensor.dtype));
  });
  const { block, layers, width, blurpool } = model.recipe;
  const filter = blurpool === false ? 'no BlurPool' : `BlurPool ${blurpool}`;
  const guess = `a ResNet of ${block} blocks [${layers}], width ${width}, ${filter}, ${model.classes} classes`;
  const told = [
    told5(
      'missing',
      missing.map(({ name }) => name),
    ),
    told5('unexpected', unexpected),
    told5(
      'not as they should be',
      wrong.map(({ name, shape }) => {
        const tensor = tensors.get(name);
        return `${name} ${tensor?.dtype} [${tensor?.shape}] for [${shape}]`;
      }),
    ),
  ].filter((text) => text !== null);
  if (told.length > 0)
    throw new Fault({
      code: 'import-other-keys',
      received: `${file}: ${told.join('; ')}`,
      expected: `the keys of ${guess}, which is what the others say`,
      remedy: "give the state_dict() of torchvision's or antialiased-cnns' ResNet (pool_only), whole and alone",
    });
  for (const { name, holds, shape } of entries) if (holds === 'filter') checkFilter(file, name, shape, tensors);
  return entries;
}

function told5(what: string, names: readonly string[]): string | null {
  if (names.length === 0) return null;
  return `${names.length} ${what} (${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''})`;
}

const MAX_FILTER = 7;

function checkFilterSize(file: string, size: number | false): void {
  if (size === false || (size >= 2 && size <= MAX_FILTER)) return;
  throw new Fault({
    code: 'import-other-filter',
    received: `${file}: maxpool.1.filt of ${size} × ${size}`,
    expected: `a BlurPool filter of 2 … ${MAX_FILTER}`,
    remedy: 'only such models are known here',
  });
}

/** Of float16's precision: a filter of a file that was converted is rounded. */
const FILTER_TOLERANCE = 1e-3;

function checkFilter(
  file: string,
  name: string,
  shape: readonly number[],
  tensors: ReadonlyMap<string, RawTensor>,
): void {
  const values = asFloat32(tensors.get(name) as RawTensor & { dtype: FloatName });
  const expected = filterValues(shape);
  const at = values.findIndex((value, i) => !(Math.abs(value - (expected[i] as number)) <= FILTER_TOLERANCE));
  if (at < 0) return;
  throw new Fault({
    code: 'import-other-filter',
    received: `${file}: ${name} with ${values[at]} at ${at}`,
    expected: `${expected[at]}: rows of Pascal's triangle over their sum`,
    remedy: 'only that filter is known here; blur weights that were trained cannot be imported',
  });
}

function finite(file: string, name: string, values: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return values;
  throw new Fault({
    code: 'import-not-finite',
    received: `${file}: ${name} with ${values[at]} at ${at}`,
    expected: 'finite numbers within float32',
    remedy: 'the training that made it diverged, or the file is damaged; take another',
  });
}

function noResNet(file: string, tensors: ReadonlyMap<string, RawTensor>): Fault {
  return new Fault({
    code: 'import-no-resnet',
    received: `${file} with ${tensors.size} tensors (${[...tensors.keys()].slice(0, 5).join(', ')} …)`,
    expected: 'conv1.weight, layer1 … layer4 and fc.weight, as in a ResNet of torchvision or antialiased-cnns',
    remedy: "save model.state_dict() itself, not a dictionary around it or another model's",
  });
}

async function write(out: string, weights: Buffer, description: Omit<WeightsDescription, 'files'>): Promise<void> {
  const aside = `${resolve(out)}.tmp`;
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true });
  await writeFileDurably(join(aside, WEIGHTS_FILE), weights);
  const text = canonicalJson({ ...description, files: { [WEIGHTS_FILE]: sha256(weights) } });
  await writeFileDurably(join(aside, MODEL_FILE), `${text}\n`);
  await syncFolder(aside);
  await rm(out, { recursive: true, force: true });
  await rename(aside, out);
  await syncFolder(dirname(resolve(out)));
}

/** With `force` only an import is replaced: nobody's run is. */
async function mustBeFree(out: string, force: boolean): Promise<void> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const isImport = names.every((name) => name === WEIGHTS_FILE || name === MODEL_FILE);
  if (names.length === 0 || (force && isImport)) return;
  throw new Fault({
    code: 'out-exists',
    received: `--out ${out} with ${names.slice(0, 3).join(', ')}`,
    expected: 'a folder that is not there or empty',
    remedy: isImport ? 'choose another --out, or add --force to replace it' : 'choose another --out',
  });
}
