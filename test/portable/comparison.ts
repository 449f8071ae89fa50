// Weights and answers beside PyTorch's: an export loaded there, a state_dict() from there loaded here, on the same photos.

import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeTensors, encodeTensors, type RawTensor, type Split, valuesOf } from '#shards';
import { evaluationSamples, openOriginals } from '#stream';
import { type Backend, type HostValues, inferLogits, type Model, readWeights, uploadValues } from '#trainer';
import { exportCheckpoint } from '../../trainer/export.ts';
import { importWeights } from '../../trainer/import.ts';

const SCRIPT = fileURLToPath(new URL('../../../test/portable/compare.py', import.meta.url));
const CROP_RATIO = 0.875;

export interface ComparisonTask {
  /** An interpreter with torch, torchvision, safetensors and antialiased-cnns. */
  readonly python: string;
  readonly backend: Backend;
  /** A checkpoint, a trainer's OUT or an imported folder. */
  readonly checkpoint: string;
  /** Class folders with the photos of `shards`. */
  readonly photos: string;
  /** The same photos packed, with a bucket of `resolution`. */
  readonly shards: string;
  readonly splits: readonly Split[];
  readonly resolution: number;
  /** An empty folder for what is exchanged. */
  readonly folder: string;
}

/** Two sets of answers to the same photos. */
export interface Agreement {
  readonly photos: number;
  /** Largest |ours − theirs| of a logit, and the largest logit to hold it against. */
  readonly worst: number;
  readonly largest: number;
  readonly differing: readonly Difference[];
}

export interface Difference {
  readonly photo: string;
  readonly ours: number;
  readonly theirs: number;
  /** How far our first class is before theirs in our logits, and theirs before ours in theirs. */
  readonly margins: readonly [ours: number, theirs: number];
}

export interface Comparison {
  readonly versions: Readonly<Record<string, string>>;
  readonly model: string;
  /** Entries of the state_dict(), all loaded; a strict load tells what is missing or too many. */
  readonly entries: number;
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  /** Our export there, on the pixels of our shards. */
  readonly exported: Agreement;
  /** PyTorch's own weights here, on the same pixels. */
  readonly imported: Agreement;
  /** Our pixels by `--source` beside those of torchvision on Pillow: bytes that differ, of how many. */
  readonly pixels: { readonly differing: number; readonly bytes: number };
  /** Our shards here beside PyTorch's own decode and resize of the originals there. */
  readonly ownPixels: Agreement;
}

export async function compare(task: ComparisonTask): Promise<Comparison> {
  const { python, backend, checkpoint, photos, shards, splits, resolution, folder } = task;
  await mkdir(folder, { recursive: true });
  const path = (name: string) => join(folder, `${name}.safetensors`);
  const { model, values } = await readWeights(checkpoint);
  const { torch } = await exportCheckpoint({ checkpoint, out: path('export'), weights: undefined, force: true });
  const { names, pixels } = await originals(photos, splits, resolution);
  const images = await packed(shards, splits, resolution, names);
  await writeFile(path('images'), encodeTensors([imagesTensor(images, resolution)]));
  const { block, layers, width, blurpool } = model.recipe;
  const asked = {
    ...{ block, layers, width, blurpool, classes: model.classes, resolution, cropRatio: CROP_RATIO },
    ...{ weights: path('export'), images: path('images'), made: path('made'), logits: path('logits') },
    photos: names.map((name) => join(photos, name)),
  };
  const told = JSON.parse(await runPython(python, asked)) as Pick<Comparison, 'versions' | 'missing' | 'unexpected'> & {
    entries: number;
  };
  const { tensors } = decodeTensors(await readFile(path('logits')));
  const theirs = (name: string) => valuesOf(tensors.get(name) as RawTensor, 'F32');
  const ours = answers(backend, model, values, images, resolution);

  const out = join(folder, 'imported');
  await importWeights({ weights: path('made'), out, force: true, onLine: () => {} });
  const made = await readWeights(out);
  const oursOfMade = answers(backend, made.model, made.values, images, resolution);
  const own = (tensors.get('pixels') as RawTensor).data;
  const agree = (a: Float32Array, b: Float32Array) => agreement(names, a, b, model.classes);
  return {
    ...told,
    model: torch,
    exported: agree(ours, theirs('same')),
    imported: agree(oursOfMade, theirs('made')),
    pixels: { differing: pixels.reduce((count, byte, i) => count + Number(byte !== own[i]), 0), bytes: pixels.length },
    ownPixels: agree(ours, theirs('own')),
  };
}

/** All photos by `--source`, in its order. */
async function originals(photos: string, splits: readonly Split[], resolution: number) {
  const names: string[] = [];
  const parts: Uint8Array[] = [];
  for (const split of splits) {
    const opened = await openOriginals({ source: photos, split, resolution, cropRatio: CROP_RATIO });
    for await (const { paths, images } of opened.batches()) {
      names.push(...paths);
      parts.push(images);
    }
  }
  return { names, pixels: Buffer.concat(parts) };
}

/** The photos of the shards in the order of `names`: shards hold them permuted. */
async function packed(
  shards: string,
  splits: readonly Split[],
  resolution: number,
  names: readonly string[],
): Promise<Buffer> {
  const bytes = resolution * resolution * 3;
  const all = Buffer.alloc(names.length * bytes);
  let found = 0;
  for (const split of splits) {
    const sources = sourcesOf(shards, split, resolution);
    let sample = 0;
    for await (const { images, samples } of evaluationSamples({ shards, split, resolution, cropRatio: CROP_RATIO }))
      for (let i = 0; i < samples; i++) {
        const place = names.indexOf(sources[sample++] ?? '');
        if (place < 0) throw new Error(`${sources[sample - 1]} is in ${shards} and not among the photos`);
        all.set(images.subarray(i * bytes, (i + 1) * bytes), place * bytes);
        found++;
      }
  }
  if (found !== names.length) throw new Error(`${found} of ${names.length} photos are packed`);
  return all;
}

/** By sample, the file that it was packed from. */
function sourcesOf(shards: string, split: Split, resolution: number): string[] {
  const folder = join(shards, String(resolution));
  return readdirSync(folder)
    .filter((name) => name.startsWith(`${split}-`) && name.endsWith('.tar'))
    .sort()
    .flatMap((name) => [...readFileSync(join(folder, name), 'latin1').matchAll(/"source":"([^"]+)"/g)])
    .map(([, source]) => source as string);
}

function imagesTensor(data: Uint8Array, resolution: number): RawTensor {
  const n = data.length / (resolution * resolution * 3);
  return { name: 'images', dtype: 'U8', shape: [n, resolution, resolution, 3], data };
}

/** Photos that are answered at once. */
const BATCH = 6;

function answers(
  backend: Backend,
  model: Model,
  values: HostValues,
  images: Uint8Array,
  resolution: number,
): Float32Array {
  const tensors = uploadValues(backend, model, values);
  const bytes = resolution * resolution * 3;
  const parts: number[] = [];
  for (let at = 0; at < images.length; at += BATCH * bytes) {
    const part = images.slice(at, at + BATCH * bytes);
    parts.push(
      ...inferLogits(backend, model, tensors, {
        images: part,
        labels: new Int32Array(part.length / bytes),
        resolution,
      }),
    );
  }
  backend.tf.dispose([tensors.weights, tensors.statistics]);
  return Float32Array.from(parts);
}

function agreement(names: readonly string[], ours: Float32Array, theirs: Float32Array, classes: number): Agreement {
  if (ours.length !== names.length * classes || theirs.length !== ours.length)
    throw new Error(`${ours.length} and ${theirs.length} logits of ${names.length} photos in ${classes} classes`);
  const differing: Difference[] = [];
  names.forEach((photo, i) => {
    const [a, b] = [ours, theirs].map((logits) => logits.subarray(i * classes, (i + 1) * classes));
    const [first, other] = [a, b].map((row) => row?.indexOf(row.reduce((x, y) => Math.max(x, y))) ?? -1);
    if (first === undefined || other === undefined || first === other) return;
    const margin = (row: Float32Array | undefined, x: number, y: number) => (row?.[x] ?? 0) - (row?.[y] ?? 0);
    differing.push({ photo, ours: first, theirs: other, margins: [margin(a, first, other), margin(b, other, first)] });
  });
  const worst = ours.reduce((most, value, i) => Math.max(most, Math.abs(value - (theirs[i] as number))), 0);
  const largest = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return { photos: names.length, worst, largest, differing };
}

function runPython(python: string, task: object): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };
    const child = execFile(python, [SCRIPT], { env, maxBuffer: 1 << 26 }, (error, stdout) => {
      if (error) reject(error);
      else resolve(stdout.trim().split('\n').at(-1) ?? '');
    });
    child.stdin?.end(JSON.stringify(task));
  });
}
