// The contenders of `ops bench preprocess`: our packer, sharp alone, Python's PIL + torchvision + webdataset, FFCV's writer.
// Each is a child process that gets the same files and the same number of workers, and tells what it stored.

import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { PACK_DEFAULTS, type PixelSettings } from '#preprocess';
import { type Bucket, openSplit, readManifest, SPLITS } from '#shards';
import { packageRoot } from '../setup/plain.ts';
import { runMeasured } from './measured-child.ts';
import { peerPython } from './python.ts';
import { addWork, type Work } from './work.ts';

export interface Contest {
  /** Folder of the photos, and their paths in it. */
  readonly dir: string;
  readonly files: readonly string[];
  readonly buckets: readonly Bucket[];
  readonly workers: number;
  readonly signal: AbortSignal;
}

export interface Run {
  /** Of the work itself: from the start of the workers to the last closed file; the loading of programs is left out. */
  readonly seconds: number;
  /** Of the whole process. */
  readonly wallSeconds: number;
  /** CPU time of the work: all threads and processes; of ours with the loading. Null where it is unknown. */
  readonly cpuSeconds: number | null;
  /** CPU time of the first thread, with the loading. */
  readonly mainThreadSeconds: number | null;
  readonly work: Work;
}

/** Of the resize. A contender is compared with our packer under the same filter. */
export type Kernel = PixelSettings['kernel'];

export interface Contender {
  /** `limit`: no packer at all, but what bounds one with sharp. */
  readonly kind: 'ours' | 'limit' | 'peer';
  readonly name: string;
  readonly kernel: Kernel;
  /** What our images/s over its should be at least; null where no goal is set. */
  readonly goal: number | null;
  /** Why it cannot run here, with the remedy. */
  readonly missing: string | null;
  /** `out`: a folder to make. */
  run(contest: Contest, out: string): Promise<Run>;
}

const PEER_GOAL = 1.5;
const SHARP_GOAL = 0.9;

/** libuv's threads decode for sharp: as many as `preprocess shard` would give itself, without a second process. */
const threads = (workers: number): NodeJS.ProcessEnv => ({ UV_THREADPOOL_SIZE: String(Math.max(4, workers + 2)) });

/** Shards a worker: it packs one after another, and at the end of a set this small no worker may stand idle for long. */
const SHARDS_A_WORKER = 8;

/** Our packer; all but the kernel is as the command has it, and shards are smaller, so that each worker gets several. */
function packer(kernel: Kernel): Contender {
  return {
    kind: 'ours',
    name: `preprocess shard --kernel ${kernel}`,
    kernel,
    goal: null,
    missing: null,
    async run({ dir, files, buckets, workers, signal }, out) {
      const list = buckets.map(({ resolution, shortSide }) => `${resolution}:${shortSide}`).join(',');
      const cli = fileURLToPath(new URL('../../preprocess/cli.js', import.meta.url));
      const samples = Math.min(PACK_DEFAULTS.shardSamples, Math.ceil(files.length / (SHARDS_A_WORKER * workers)));
      const flags = ['--source', dir, '--out', out, '--buckets', list, '--kernel', kernel, '--workers', `${workers}`];
      const { result, wallSeconds, cpu } = await runMeasured<{ seconds: number }>({
        command: process.execPath,
        args: [cli, 'shard', ...flags, '--shard-samples', String(samples), '--json'],
        env: threads(workers),
        signal,
      });
      return {
        seconds: result.seconds,
        wallSeconds,
        cpuSeconds: cpu?.process ?? null,
        mainThreadSeconds: cpu?.mainThread ?? null,
        work: await packedWork(out),
      };
    },
  };
}

/** What lies in a packed dataset, by its indexes. */
async function packedWork(out: string): Promise<Work> {
  const manifest = await readManifest(out);
  const work: Work = {};
  for (const split of SPLITS)
    for (const { resolution, shortSide } of Object.values(manifest.splits[split].buckets)) {
      const index = await openSplit(out, manifest, split, resolution);
      for (let sample = 0; sample < index.samples; sample++) {
        const { width, height, bytes } = index.locate(sample);
        addWork(work, { [shortSide]: { images: 1, pixels: width * height, bytes } });
      }
    }
  return work;
}

interface Peer extends Pick<Contender, 'kind' | 'name' | 'kernel' | 'goal' | 'missing'> {
  readonly command: string;
  readonly script: string;
  readonly options?: Readonly<Record<string, unknown>>;
}

/** A contender that takes the contest as JSON and answers with {seconds, cpuSeconds, work}. */
function peer({ command, script, options, ...about }: Peer): Contender {
  return {
    ...about,
    async run({ dir, files, buckets, workers, signal }, out) {
      await mkdir(out);
      const shortSides = buckets.map(({ shortSide }) => shortSide);
      const { result, wallSeconds, cpu } = await runMeasured<Pick<Run, 'seconds' | 'cpuSeconds' | 'work'>>({
        command,
        args: [script],
        input: { dir, files, out, workers, shortSides, ...options },
        env: threads(workers),
        signal,
      });
      return { ...result, wallSeconds, mainThreadSeconds: cpu?.mainThread ?? null };
    },
  };
}

/** The kernel of `preprocess shard` where none is said, and torchvision's; both packed, so that like meets like. */
const DEFAULT_KERNEL: Kernel = PACK_DEFAULTS.pixels.kernel;
const KERNELS: readonly Kernel[] = [...new Set<Kernel>([DEFAULT_KERNEL, 'bilinear'])];

const FILTERS = { lanczos3: 'lanczos', bicubic: 'bicubic', bilinear: 'bilinear' } as const;

/** Ours first. What cannot be had says why. Makes Python's environment where it is missing. */
export async function contenders(say: (line: string) => void): Promise<Contender[]> {
  const script = (name: string): string => fileURLToPath(new URL(`ops/bench/${name}`, packageRoot));
  const { python, missing, ffcvMissing } = await peerPython(say);
  const webdataset = (kernel: Kernel, { draft }: { draft: boolean }): Contender =>
    peer({
      kind: 'peer',
      name: `PIL${draft ? ' (large JPEGs scaled as they decode)' : ''} + torchvision (${kernel}) + webdataset`,
      kernel,
      // torchvision never asks for a scaled decode: that row is for information.
      goal: draft ? null : PEER_GOAL,
      missing,
      command: python,
      script: script('peer_webdataset.py'),
      options: { filter: FILTERS[kernel], draft },
    });
  return [
    ...KERNELS.map(packer),
    peer({
      kind: 'limit',
      name: `sharp alone (${DEFAULT_KERNEL}): no packing, results dropped`,
      kernel: DEFAULT_KERNEL,
      goal: SHARP_GOAL,
      missing: null,
      command: process.execPath,
      script: fileURLToPath(new URL('./sharp-alone.js', import.meta.url)),
      options: { kernel: DEFAULT_KERNEL },
    }),
    ...KERNELS.map((kernel) => webdataset(kernel, { draft: false })),
    webdataset('bilinear', { draft: true }),
    peer({
      kind: 'peer',
      name: 'FFCV DatasetWriter (area), a pass a bucket',
      kernel: DEFAULT_KERNEL,
      goal: PEER_GOAL,
      missing: ffcvMissing,
      command: python,
      script: script('peer_ffcv.py'),
    }),
  ];
}
