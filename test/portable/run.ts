#!/usr/bin/env node
// `npm run portable -- [--python FILE] [--checkpoint DIR --resolution R] [--json] [FILTER …]`: whole ResNets (those with a
// FILTER in their names) and a trained net beside PyTorch, on all 102 photos.
//
// Exit 1 where an export does not load strictly, or logits on the same pixels differ by more than 1e-4, or a class does.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { PACK_DEFAULTS, pack } from '#preprocess';
import { parseBuckets, runProgram, SPLITS, wholeNumber } from '#shards';
import { evaluationSamples, type ModelRecipe } from '#stream';
import { loadBackend } from '#trainer';
import { pythonWith } from '../../ops/bench/python.ts';
import { PHOTOS } from '../packed.ts';
import { type Agreement, type Comparison, compare } from './comparison.ts';
import { writeRandomNet } from './random-net.ts';
import { TORCH_PINS } from './torch-python.ts';

const TOLERANCE = 1e-4;
const FULL_RESOLUTION = 224;

const NETS: Readonly<Record<string, Partial<ModelRecipe>>> = {
  'ResNet-50, BlurPool 4, random': { blurpool: 4 },
  'ResNet-50, random': { blurpool: false },
  'ResNet-18, BlurPool 3, random': { block: 'basic', layers: [2, 2, 2, 2], blurpool: 3 },
};
/** As published: the photos' classes are none of these, but that does not matter to logits. */
const CLASSES = 1000;

interface Row extends Comparison {
  readonly net: string;
  readonly resolution: number;
  readonly pass: boolean;
}

interface Flags {
  readonly python?: string;
  readonly checkpoint?: string;
  readonly resolution: number;
  readonly json: boolean;
}

const say = (line: string) => process.stderr.write(`${line}\n`);

async function packAt(folder: string, resolution: number): Promise<string> {
  const out = join(folder, `shards-${resolution}`);
  const buckets = parseBuckets(String(resolution));
  await pack({ source: PHOTOS, out, buckets, workers: 2, ...PACK_DEFAULTS });
  return out;
}

async function firstImages(shards: string, resolution: number): Promise<Uint8Array> {
  for await (const { images } of evaluationSamples({ shards, split: 'val', resolution, cropRatio: 0.875 }))
    return images;
  throw new Error(`no photo in ${shards}`);
}

const agrees = ({ worst, differing }: Agreement) => worst <= TOLERANCE && differing.length === 0;

function tell({ net, model, resolution, entries, exported, imported, pixels, ownPixels, pass }: Row): string[] {
  const figures = ({ photos, worst, largest }: Agreement) =>
    `${photos} photos, logits differ by ${worst.toExponential(1)} at most (largest ${largest.toFixed(1)})`;
  return [
    `${pass ? 'pass' : 'FAIL'}  ${net} at ${resolution} px: ${entries} entries loaded strictly into ${model}`,
    `      export there, same pixels: ${figures(exported)}, ${exported.differing.length} classes differ`,
    `      PyTorch's weights here: ${figures(imported)}, ${imported.differing.length} classes differ`,
    `      --source beside Pillow and torchvision: ${pixels.differing} of ${pixels.bytes} bytes differ`,
    `      shards beside Pillow and torchvision: ${ownPixels.differing.length} of ${ownPixels.photos} predictions differ`,
    ...ownPixels.differing.map(
      ({ photo, ours, theirs, margins: [a, b] }) =>
        `        ${photo}: ${ours} by ${a.toFixed(4)}, there ${theirs} by ${b.toFixed(4)}`,
    ),
  ];
}

const program = new Command('portable')
  .description('exports and imports beside PyTorch, on all photos')
  .argument('[filter...]', 'only nets with one of these in their names')
  .option('--python <file>', 'an interpreter with torch, torchvision, safetensors and antialiased-cnns; default: made')
  .option('--checkpoint <dir>', 'a trained net of the five photo classes as well')
  .option('--resolution <r>', "that net's resolution", wholeNumber('--resolution', 1), 80)
  .option('--json', 'print the result as one object on the last line', false)
  .action(async (filters: string[], { python: given, checkpoint, resolution: trained, json }: Flags) => {
    const python = given ?? (await pythonWith(TORCH_PINS, say));
    const folder = await mkdtemp(join(tmpdir(), 'medium-recipe-portable-'));
    const rows: Row[] = [];
    try {
      const backend = await loadBackend('auto');
      const add = async (net: string, from: string, shards: string, resolution: number) => {
        const exchanged = join(folder, `exchange-${rows.length}`);
        const task = { python, backend, checkpoint: from, photos: PHOTOS, shards, splits: SPLITS, resolution };
        const found = await compare({ ...task, folder: exchanged });
        await rm(exchanged, { recursive: true });
        const strict = found.missing.length + found.unexpected.length === 0;
        const row = { net, resolution, ...found, pass: strict && agrees(found.exported) && agrees(found.imported) };
        rows.push(row);
        if (!json) for (const line of tell(row)) process.stdout.write(`${line}\n`);
      };
      const resolution = FULL_RESOLUTION;
      const shards = await packAt(folder, resolution);
      const images = await firstImages(shards, resolution);
      for (const [net, model] of Object.entries(NETS)) {
        if (filters.length > 0 && !filters.some((filter) => net.includes(filter))) continue;
        const out = join(folder, `net-${rows.length}`);
        await add(
          net,
          await writeRandomNet(backend, out, { model, classes: CLASSES }, { images, resolution }),
          shards,
          resolution,
        );
        await rm(out, { recursive: true });
      }
      if (checkpoint !== undefined) await add(checkpoint, checkpoint, await packAt(folder, trained), trained);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    if (json) process.stdout.write(`${JSON.stringify({ rows })}\n`);
    if (!rows.every(({ pass }) => pass)) process.exitCode = 1;
  });

await runProgram(program);
