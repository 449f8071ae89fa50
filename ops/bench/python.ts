// Python's side of benchmarks and interop: virtual environments in the cache with pinned packages, made once each.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Fault } from '#shards';
import { which } from '../setup/plain.ts';
import { cachedFolder } from './cached.ts';

const run = promisify(execFile);

/** What pip gets; each set is an environment of its own. */
export const WEBDATASET = ['webdataset==1.0.2', 'pillow==13.0.0', 'numpy==2.4.6'] as const;
/** torch comes along with torchvision: about 5 GB. */
const TORCHVISION = [...WEBDATASET, 'torch==2.15.0', 'torchvision==0.29.2'] as const;
/** ffcv is compiled here, against Debian's OpenCV and libjpeg-turbo. */
const FFCV = [
  ...TORCHVISION,
  'ffcv==1.0.2',
  'numba==0.68.1',
  'opencv-python==5.0.0.93',
  'pytorch-pfn-extras==0.9.0',
  'fastargs==1.2.0',
  'assertpy==1.1',
  'terminaltables==3.1.10',
  'psutil==7.2.2',
  'tqdm==4.70.1',
] as const;
export const LIBRDKAFKA = ['confluent-kafka==2.16.1'] as const;
export const DALI = ['nvidia-dali-cuda120==2.4.0', 'numpy==2.4.6'] as const;

/** These have no wheels. */
const FROM_SOURCE = 'ffcv,assertpy,fastargs';

/** @returns the interpreter of the environment with `packages`. @throws Fault `no-python`, `python-packages` */
export async function pythonWith(packages: readonly string[], say: (line: string) => void): Promise<string> {
  const names = packages.map((pin) => pin.split('==')[0]).join(', ');
  const python3 = which('python3');
  if (python3 === null)
    throw unavailable('no-python', 'no python3 on PATH', names, 'install Python 3 with pip and venv');
  const { stdout: version } = await run(python3, ['--version']);
  const python = (folder: string): string => join(folder, 'bin', 'python');
  const make = async (aside: string): Promise<void> => {
    say(`installing ${names} for Python, once`);
    const pip = ['-m', 'pip', 'install', '--quiet', '--only-binary=:all:', `--no-binary=${FROM_SOURCE}`];
    try {
      await run(python3, ['-m', 'venv', aside]);
      await run(python(aside), [...pip, ...packages], { maxBuffer: 1 << 26 });
    } catch (error) {
      const { stderr, message } = error as Error & { stderr?: string };
      const lines = (stderr || message).trim().split('\n');
      const reason = lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1) ?? 'no reason given';
      throw unavailable('python-packages', reason.trim(), names, 'see that pip reaches its index, then run it again');
    }
  };
  return python(await cachedFolder({ name: 'python', settings: [version.trim(), ...packages], say, make }));
}

function unavailable(code: string, received: string, names: string, remedy: string): Fault {
  return new Fault({ code, received, expected: `${names} for Python`, remedy });
}

export interface PeerPython {
  /** The interpreter; empty where `missing` says why there is none. */
  readonly python: string;
  /** Why torchvision and webdataset are missing, or null. */
  readonly missing: string | null;
  /** Why FFCV is, or null. */
  readonly ffcvMissing: string | null;
}

/** One environment with all of the packer's peers that can be had here, FFCV if possible. */
export async function peerPython(say: (line: string) => void): Promise<PeerPython> {
  const attempt = (packages: readonly string[]): Promise<string | Fault> =>
    pythonWith(packages, say).catch((error: unknown) => {
      if (error instanceof Fault) return error;
      throw error;
    });
  let ffcvMissing = await whyNoFfcv();
  if (ffcvMissing === null) {
    const python = await attempt(FFCV);
    if (typeof python === 'string') return { python, missing: null, ffcvMissing };
    ffcvMissing = python.message;
  }
  const python = await attempt(TORCHVISION);
  return typeof python === 'string'
    ? { python, missing: null, ffcvMissing }
    : { python: '', missing: python.message, ffcvMissing };
}

/** Why FFCV cannot be compiled here, with the remedy; null where it can. */
async function whyNoFfcv(): Promise<string | null> {
  const remedy = 'apt-get install libopencv-dev libturbojpeg0-dev pkg-config g++';
  for (const command of ['pkg-config', 'g++']) if (which(command) === null) return `no ${command}: ${remedy}`;
  for (const library of ['opencv4', 'libturbojpeg']) {
    const there = await run('pkg-config', ['--exists', library]).then(
      () => true,
      () => false,
    );
    if (!there) return `no ${library}: ${remedy}`;
  }
  return null;
}
