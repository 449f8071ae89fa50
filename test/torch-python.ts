// Interpreters for tests that run ops/python: with the reader's packages, and where one can be found, with torch.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cacheRoot } from '#ops';
import { Fault } from '#shards';
import { pythonWith } from '../ops/bench/python.ts';

/** ops/python. */
export const READER = fileURLToPath(new URL('../../ops/python', import.meta.url));

const say = (line: string) => process.stderr.write(`${line}\n`);

/** An interpreter with what it finds its modules by. */
export interface Python {
  readonly file: string;
  readonly env: NodeJS.ProcessEnv;
}

/** The interpreter that has the reader's packages, all but torch, which weighs gigabytes; skips aloud where pip gets none. */
export async function readerPython(t: TestContext): Promise<Python | null> {
  const pins = (await readFile(join(READER, 'requirements.txt'), 'utf8')).split('\n').filter((line) => line !== '');
  const small = pins.filter((pin) => !pin.startsWith('torch=='));
  assert.equal(small.length, pins.length - 1);
  try {
    return { file: await pythonWith(small, say), env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    say(`SKIPPED: ${error.message}`);
    t.skip(error.message);
    return null;
  }
}

/** Fast: torch itself takes seconds to import. */
const FINDS_TORCH =
  'import confluent_kafka, safetensors.numpy, importlib.util as u; exit(u.find_spec("torch") is None)';

/** An interpreter of the machine or of the cache that has torch, with the reader's packages; skips aloud where none has. */
export async function torchPython(t: TestContext, reader: Python): Promise<Python | null> {
  const environments = join(cacheRoot(), 'python');
  const cached = existsSync(environments) ? await readdir(environments) : [];
  const { stdout } = await promisify(execFile)(reader.file, [
    '-c',
    'import sysconfig; print(sysconfig.get_path("purelib"))',
  ]);
  const env = { ...reader.env, PYTHONPATH: stdout.trim() };
  for (const file of ['python3', ...cached.map((name) => join(environments, name, 'bin', 'python'))]) {
    const there = await promisify(execFile)(file, ['-c', FINDS_TORCH], {
      env,
    }).then(
      () => true,
      () => false,
    );
    if (there) return { file, env };
  }
  const reason = `no python3 here imports torch: pip install -r ${READER}/requirements.txt`;
  say(`SKIPPED: ${reason}`);
  t.skip(reason);
  return null;
}
