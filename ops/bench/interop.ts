// Whether others read our shards as we do: torchvision's labels, and DALI on the CPU through our .idx files.

import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { Fault, type Manifest, openSplit, readManifest, ShardFiles, SPLITS } from '#shards';
import { cacheRoot, packageRoot, temporary } from '../setup/plain.ts';
import { runMeasured } from './measured-child.ts';
import { DALI, peerPython, pythonWith } from './python.ts';

export interface Check {
  readonly name: string;
  readonly pass: boolean;
  /** What was compared, or why it failed. */
  readonly detail: string;
}

export interface CheckOptions {
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** A packed dataset and where its photos are from. */
interface Packed {
  readonly photos: string;
  readonly out: string;
  readonly manifest: Manifest;
}

/** Packs the photos of test/fixtures and lets Python read them. A package that cannot be had is a check that fails. */
export async function interopChecks(options: CheckOptions): Promise<Check[]> {
  const scratch = temporary(cacheRoot());
  try {
    const photos = fileURLToPath(new URL('test/fixtures/photos', packageRoot));
    const out = join(scratch, 'shards');
    const cli = fileURLToPath(new URL('../../preprocess/cli.js', import.meta.url));
    const flags = ['--source', photos, '--out', out, '--buckets', '48,128', '--shard-samples', '32', '--json'];
    await runMeasured({ command: process.execPath, args: [cli, 'shard', ...flags], signal: options.signal });
    const packed: Packed = { photos, out, manifest: await readManifest(out) };
    return [
      await check("torchvision's ImageFolder gives the labels of our manifest and shards", () =>
        sameLabels(packed, options),
      ),
      await check('DALI on the CPU reads the same JPEGs and labels through our .idx files', () =>
        sameSamples(packed, options),
      ),
    ];
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** `body` tells what it compared, or throws a Fault. */
async function check(name: string, body: () => Promise<string>): Promise<Check> {
  try {
    return { name, pass: true, detail: await body() };
  } catch (error) {
    if (error instanceof Fault && error.code !== 'interrupted') return { name, pass: false, detail: error.message };
    throw error;
  }
}

const script = (name: string): string => fileURLToPath(new URL(`ops/bench/${name}`, packageRoot));

async function sameLabels({ photos, out, manifest }: Packed, { say, signal }: CheckOptions): Promise<string> {
  const { python, missing } = await peerPython(say);
  if (missing !== null)
    throw new Fault({ code: 'interop', received: missing, expected: 'torchvision', remedy: 'see the reason' });
  const { result } = await runMeasured<{
    classToIdx: Readonly<Record<string, Readonly<Record<string, number>>>>;
    imageFolder: Readonly<Record<string, number>>;
    packed: Readonly<Record<string, number>>;
  }>({
    command: python,
    args: [script('imagefolder_check.py')],
    input: { dir: photos, tars: tarsOf(out, manifest, 48) },
    signal,
  });
  const ours = Object.fromEntries(manifest.dataset.classes.map(({ wnid }, label) => [wnid, label]));
  for (const split of SPLITS) expectEqual(`class_to_idx of ${split}`, result.classToIdx[split], ours);
  expectEqual('labels by file', result.packed, result.imageFolder);
  return `${Object.keys(ours).length} classes, ${Object.keys(result.packed).length} photos`;
}

/** Of one sample, as dali_check.py has it. */
interface DaliSample {
  readonly cls: number;
  readonly sha256: string;
  readonly size: readonly number[];
}

async function sameSamples({ out, manifest }: Packed, { say, signal }: CheckOptions): Promise<string> {
  const command = await pythonWith(DALI, say);
  const files = new ShardFiles(out);
  let samples = 0;
  try {
    for (const resolution of [48, 128]) {
      const tars = tarsOf(out, manifest, resolution);
      const args = [script('dali_check.py')];
      const { result } = await runMeasured<DaliSample[][]>({ command, args, input: { tars }, signal });
      const ours: DaliSample[] = [];
      for (const split of SPLITS) {
        const index = await openSplit(out, manifest, split, resolution);
        for (let i = 0; i < index.samples; i++) {
          const location = index.locate(i);
          const sha256 = createHash('sha256').update(files.readSync(location)).digest('hex');
          ours.push({ cls: location.label, sha256, size: [location.width, location.height] });
        }
      }
      expectEqual(`samples of bucket ${resolution}`, result.flat(), ours);
      samples += ours.length;
    }
  } finally {
    files.close();
  }
  return `${samples} samples of 2 buckets: label, sha256 of the JPEG, decoded size`;
}

/** Train first, as everywhere. */
function tarsOf(out: string, manifest: Manifest, resolution: number): string[] {
  return SPLITS.flatMap((split) =>
    (manifest.splits[split].buckets[String(resolution)]?.shards ?? []).map(({ file }) => join(out, file)),
  );
}

function expectEqual(what: string, theirs: unknown, ours: unknown): void {
  // Python's objects may have another order of keys, which does not count.
  if (isDeepStrictEqual(theirs, ours)) return;
  const short = (value: unknown): string => JSON.stringify(value).slice(0, 200);
  throw new Fault({
    code: 'interop',
    received: `${what}: ${short(theirs)}`,
    expected: short(ours),
    remedy: 'find out which side is right',
  });
}
