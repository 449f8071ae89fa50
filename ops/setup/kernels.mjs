#!/usr/bin/env node
// kernels.mjs: compiles every room's AssemblyScript kernel, ROOM/…/NAME.as.ts, to dist/ROOM/…/NAME.wasm.
//
// tsc leaves these files out. NAME.part.as.ts is what kernels import, and none itself. A kernel that is newer than all the
// sources of its room and the lockfile is kept.

import { mkdirSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild } from './child.mjs';
import { SetupFailure } from './failure.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SOURCE = /\.as\.ts$/;
const PART = /\.part\.as\.ts$/;

/** No garbage collector and no run-time checks: kernels work on addresses that their callers lay out. */
const FLAGS = ['--enable', 'simd', '--runtime', 'stub', '--noAssert', '-O3'];

/** @param {string} file @returns {number} ms; 0 where there is none */
const modified = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** @param {(line: string) => void} say */
export async function buildKernels(say) {
  /** @type {{ include: string[] }} */
  const { include } = JSON.parse(readFileSync(join(ROOT, 'tsconfig.json'), 'utf8'));
  for (const room of include) {
    const names = readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' });
    const sources = names.filter((name) => SOURCE.test(name)).map((name) => join(room, name));
    const changed = Math.max(...[...sources, 'package-lock.json'].map((name) => modified(join(ROOT, name))));
    for (const source of sources) {
      const target = join('dist', source.replace(SOURCE, '.wasm'));
      if (PART.test(source) || modified(join(ROOT, target)) > changed) continue;
      say(`building ${target}`);
      await compile(source, target);
    }
  }
}

/** @param {string} source @param {string} target */
async function compile(source, target) {
  mkdirSync(dirname(join(ROOT, target)), { recursive: true });
  const asc = join(ROOT, 'node_modules', 'assemblyscript', 'bin', 'asc.js');
  // Renamed when it is whole: one that a killed build left would be kept as the newest.
  const aside = `${target}.partial`;
  const args = [asc, source, '--outFile', aside, ...FLAGS];
  const { code } = await runChild(process.execPath, args, { cwd: ROOT, stdout: 'inherit', stderr: 'inherit' });
  if (code !== 0) throw new SetupFailure('build', `asc ended with exit ${code}`, 'mend what it names above');
  renameSync(join(ROOT, aside), join(ROOT, target));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await buildKernels((line) => process.stdout.write(`${line}\n`));
  } catch (error) {
    if (!(error instanceof SetupFailure)) throw error;
    process.stderr.write(`error ${error.message}\n`);
    process.exitCode = 1;
  }
}
