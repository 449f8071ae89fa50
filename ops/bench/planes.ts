// The plane decoder beside libjpeg-turbo's full decode, one thread, on the same JPEGs: ms an image, medians of interleaved
// rounds. `node dist/ops/bench/planes.js [--rounds N]` prints JSON.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Crop, jpegTurbo, PlaneDecoder } from '#shards';
import { photoSet, warm } from './photo-set.ts';

const IMAGES = 100;
const SHORT_SIDES = [160, 256, 320];
const SCALE: readonly [number, number] = [0.35, 1];

interface Case {
  readonly name: string;
  readonly images: readonly { jpeg: Buffer; whole: Crop; random: Crop }[];
}

export interface PlanesReport {
  readonly source: string;
  readonly kilobytes: number;
  /** ms an image. */
  readonly turbo: number;
  readonly whole: number;
  readonly random: number;
  /** libjpeg-turbo's time over ours. */
  readonly wholeRatio: number;
  readonly randomRatio: number;
}

/** RandomResizedCrop's areas and ratios from evenly spread draws, the same in each run. */
function randomCrop(i: number, width: number, height: number): Crop {
  const draw = (k: number): number => ((i + 0.5) * (Math.sqrt(k) % 1)) % 1;
  const area = width * height * (SCALE[0] + (SCALE[1] - SCALE[0]) * draw(2));
  const ratio = (3 / 4) ** (1 - 2 * draw(3));
  const w = Math.min(width, Math.max(1, Math.round(Math.sqrt(area * ratio))));
  const h = Math.min(height, Math.max(1, Math.round(Math.sqrt(area / ratio))));
  return { x: Math.floor((width - w) * draw(5)), y: Math.floor((height - h) * draw(7)), width: w, height: h };
}

async function makeCases(): Promise<Case[]> {
  const { default: sharp } = await import('sharp');
  const set = await photoSet(1000, (line) => process.stderr.write(`${line}\n`));
  const originals: Buffer[] = [];
  for (const path of await warm(set)) {
    const jpeg = await readFile(join(set.dir, path));
    const { width, height } = await sharp(jpeg).metadata();
    if (width === 500 && height === 375 && originals.length < IMAGES) originals.push(jpeg);
  }
  const cases: Case[] = [{ name: '500x375', images: await Promise.all(originals.map(measured)) }];
  for (const side of SHORT_SIDES) {
    const stored = originals.map((jpeg) =>
      sharp(jpeg).resize({ height: side }).jpeg({ quality: 90, optimiseCoding: false }).toBuffer(),
    );
    cases.push({ name: `short side ${side}`, images: await Promise.all((await Promise.all(stored)).map(measured)) });
  }
  return cases;

  async function measured(jpeg: Buffer, i: number): Promise<Case['images'][number]> {
    const { width, height } = await sharp(jpeg).metadata();
    return { jpeg, whole: { x: 0, y: 0, width, height }, random: randomCrop(i, width, height) };
  }
}

export async function benchPlanes(rounds: number): Promise<PlanesReport[]> {
  const { decompressSync, FORMAT_RGB } = jpegTurbo();
  const out = Buffer.alloc(500 * 375 * 3);
  const decoder = PlaneDecoder.load();
  const ours = (jpeg: Uint8Array, crop: Crop): void => {
    const planes = decoder.decode(jpeg, crop);
    if (typeof planes === 'string') throw new Error(planes);
  };
  const reports: PlanesReport[] = [];
  for (const { name, images } of await makeCases()) {
    const contenders = {
      turbo: () => {
        for (const { jpeg } of images) decompressSync(jpeg, out, { format: FORMAT_RGB });
      },
      whole: () => {
        for (const { jpeg, whole } of images) ours(jpeg, whole);
      },
      random: () => {
        for (const { jpeg, random } of images) ours(jpeg, random);
      },
    };
    const times = { turbo: [] as number[], whole: [] as number[], random: [] as number[] };
    const keys = ['turbo', 'whole', 'random'] as const;
    for (let round = -2; round < rounds; round++)
      for (const key of keys) {
        const begun = performance.now();
        contenders[key]();
        if (round >= 0) times[key].push((performance.now() - begun) / images.length);
      }
    const median = (of: number[]): number => of.sort((a, b) => a - b)[of.length >> 1] as number;
    const [turbo, whole, random] = keys.map((key) => median(times[key])) as [number, number, number];
    const kilobytes = images.reduce((sum, { jpeg }) => sum + jpeg.length, 0) / images.length / 1000;
    const figures = { kilobytes, turbo, whole, random, wholeRatio: turbo / whole, randomRatio: turbo / random };
    const rounded = Object.entries(figures).map(([key, value]) => [key, Number(value.toFixed(3))]);
    reports.push({ source: name, ...Object.fromEntries(rounded) });
  }
  return reports;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '9' } } });
  for (const report of await benchPlanes(Number(values.rounds))) process.stdout.write(`${JSON.stringify(report)}\n`);
}
