#!/usr/bin/env node
// run-tests.mjs [filters]: Biome, then every built test whose source still exists; filters are parts of a test's path.

import { existsSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild } from './child.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What a continuous integration run may not skip; see test/requirements.ts. */
const REQUIRED = 'kafka,tfjs-node,parity';

/** @param {string} folder @returns {string[]} */
function testFiles(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(folder, name))
    .sort();
}

/** @param {string} file in dist/ */
const source = (file) => join(ROOT, relative(join(ROOT, 'dist'), file)).replace(/\.js$/, '.ts');

/** @param {readonly string[]} filters @returns {Promise<number>} exit code */
async function main(filters) {
  if (filters.length === 0) {
    const biome = join(ROOT, 'node_modules', '@biomejs', 'biome', 'bin', 'biome');
    const lint = await runChild(process.execPath, [biome, 'check', '--error-on-warnings', '.'], {
      cwd: ROOT,
      stdout: 'inherit',
      stderr: 'inherit',
    });
    if (lint.code !== 0) return lint.code;
  }
  // A test whose source was removed or renamed may still lie in dist/.
  const built = testFiles(join(ROOT, 'dist', 'test')).filter((file) => existsSync(source(file)));
  const chosen = (/** @type {string} */ file) => filters.some((filter) => relative(ROOT, file).includes(filter));
  const files = filters.length === 0 ? built : built.filter(chosen);
  if (files.length === 0) {
    process.stderr.write(
      `error no test matches ${filters.join(' ') || 'anything'}; ${built.length} test files are built\n`,
    );
    return 1;
  }
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  // Two files at once suit the smallest machine; Node knows the flag from 20.10 on.
  const concurrency = major > 20 || minor >= 10 ? ['--test-concurrency=2'] : [];
  const env = {
    TF_CPP_MIN_LOG_LEVEL: '2',
    TF_NUM_INTRAOP_THREADS: '1',
    ...(process.env['CI'] === 'true' ? { MEDIUM_RECIPE_REQUIRE: REQUIRED } : {}),
    ...process.env,
  };
  const args = ['--test', ...concurrency, ...files];
  const { code } = await runChild(process.execPath, args, { cwd: ROOT, env, stdout: 'inherit', stderr: 'inherit' });
  return code;
}

process.exitCode = await main(process.argv.slice(2));
