// An interpreter with PyTorch and the two libraries whose ResNets ours are.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheRoot } from '#ops';

export const TORCH_PINS = [
  'torch==2.15.0',
  'torchvision==0.29.2',
  'numpy==2.4.6',
  'pillow==13.0.0',
  'safetensors==0.8.0',
  'antialiased-cnns==0.3',
] as const;

/** Fast: torch itself takes seconds to import. */
const FINDS =
  'import importlib.util as u; exit(any(u.find_spec(m) is None for m in ("torch", "torchvision", "safetensors", "antialiased_cnns")))';

/** The machine's own or one of the cache's; null where none has all of them. */
export async function torchPython(): Promise<string | null> {
  const environments = join(cacheRoot(), 'python');
  const cached = existsSync(environments) ? await readdir(environments) : [];
  const named = process.env['MEDIUM_RECIPE_PYTHON'];
  const files = ['python3', ...cached.map((name) => join(environments, name, 'bin', 'python'))];
  for (const file of named === undefined ? files : [named, ...files]) {
    const there = await promisify(execFile)(file, ['-c', FINDS]).then(
      () => true,
      () => false,
    );
    if (there) return file;
  }
  return null;
}
