#!/usr/bin/env node
// bootstrap.mjs COMMAND [args]: on any clone, does what is missing of `npm ci`, setup and build, then runs COMMAND.
//
//   quickstart [args]   the quickstart of dist/ops/cli.js
//   test [filters]      the test runner
//   run FILE [args]     any built file, for other npm scripts
//
// Plain JavaScript on Node's own modules: nothing is installed or built yet when it starts.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheRoot, withLock } from './cache.mjs';
import { runChild } from './child.mjs';
import { SetupFailure } from './failure.mjs';
import { buildKernels } from './kernels.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Inside node_modules, so that `npm ci` and a person's rm take it along. */
const INSTALLED = join(ROOT, 'node_modules', '.medium-recipe-install');
/** Newer than every source when the last build succeeded; .tsbuildinfo is written by a failed one too. */
const BUILT = join(ROOT, 'dist', '.built');

/** @param {string} line */
const say = (line) => process.stdout.write(`bootstrap: ${line}\n`);

/** Why node_modules does not fit package-lock.json, or null. */
function installNeeded() {
  const lock = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
  const hash = createHash('sha256').update(lock).digest('hex');
  if (existsSync(INSTALLED) && readFileSync(INSTALLED, 'utf8') === hash) return null;
  // npm writes this listing last, so where it agrees a complete install by hand is kept.
  const listing = join(ROOT, 'node_modules', '.package-lock.json');
  if (!existsSync(listing)) return 'nothing is installed';
  const wanted = Object.entries(JSON.parse(lock).packages).filter(([name]) => name !== '');
  const present = JSON.parse(readFileSync(listing, 'utf8')).packages;
  for (const [name, { version, optional }] of wanted) {
    if (present[name] === undefined ? !optional : present[name].version !== version) {
      return `${name} is not installed in version ${version}`;
    }
  }
  writeFileSync(INSTALLED, hash);
  return null;
}

async function install() {
  const reason = installNeeded();
  if (reason === null) return;
  say(`npm ci (${reason})`);
  // Under `npm run` this is the very npm that the person called.
  const npm = process.env['npm_execpath'];
  const [command, ...first] = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm'];
  const args = [...first, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'];
  const { code } = await runChild(command ?? 'npm', args, { cwd: ROOT, stdout: 'inherit', stderr: 'inherit' });
  if (code !== 0)
    throw new SetupFailure('npm-ci', `it ended with exit ${code}`, "see npm's message above, and run it again");
  const still = installNeeded();
  if (still !== null) throw new SetupFailure('npm-ci', `afterwards ${still}`, 'remove node_modules and run it again');
}

/** @param {string} folder @returns {number} time of the newest TypeScript source below, ms */
function newest(folder) {
  let time = statSync(folder).mtimeMs; // a removed or renamed file shows in its folder's time
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) time = Math.max(time, newest(path));
    else if (entry.name.endsWith('.ts')) time = Math.max(time, statSync(path).mtimeMs);
  }
  return time;
}

async function build() {
  const config = join(ROOT, 'tsconfig.json');
  const rooms = JSON.parse(readFileSync(config, 'utf8')).include.map((/** @type {string} */ room) => join(ROOT, room));
  const settings = [config, join(ROOT, 'package-lock.json')].map((file) => statSync(file).mtimeMs);
  const time = Math.max(...settings, ...rooms.filter((/** @type {string} */ room) => existsSync(room)).map(newest));
  if ((statSync(BUILT, { throwIfNoEntry: false })?.mtimeMs ?? 0) > time) return;
  say('building with tsc');
  const started = new Date();
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const { code } = await runChild(process.execPath, [tsc, '-p', config], { stdout: 'inherit', stderr: 'inherit' });
  if (code !== 0) throw new SetupFailure('build', `tsc ended with exit ${code}`, 'mend what it names above');
  await buildKernels(say);
  mkdirSync(join(ROOT, 'dist'), { recursive: true });
  writeFileSync(BUILT, '');
  utimesSync(BUILT, started, started); // a source saved while tsc ran is newer
}

/** One bootstrap at a time in a checkout: two `npm ci` at once would break each other. */
async function prepare() {
  const name = createHash('sha256').update(ROOT).digest('hex').slice(0, 12);
  const wait = (/** @type {string} */ pid) => say(`waiting for ${pid}, which is preparing this checkout`);
  await withLock(join(cacheRoot(), 'locks', `checkout-${name}`), wait, async () => {
    await install();
    const { nativeRequired, setup } = await import('./setup.mjs');
    const state = await setup();
    if (state.backend === 'wasm' && nativeRequired())
      throw new SetupFailure('native-required', 'CI=true forbids wasm', state.reason);
    await build();
  });
}

/** @param {string} file @param {readonly string[]} args @returns {Promise<number>} */
async function node(file, args) {
  const { code } = await runChild(process.execPath, [file, ...args], { stdout: 'inherit', stderr: 'inherit' });
  return code;
}

/** @param {string | undefined} command @param {string[]} args @returns {Promise<number>} exit code */
async function main(command, args) {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 9)) {
    throw new SetupFailure('node-old', `this is Node ${process.versions.node}`, 'install Node 20.9 or newer');
  }
  if (command === 'quickstart') {
    await prepare();
    return node(join(ROOT, 'dist', 'ops', 'cli.js'), ['quickstart', ...args]);
  }
  if (command === 'test') {
    await prepare();
    return node(join(ROOT, 'ops', 'setup', 'run-tests.mjs'), args);
  }
  if (command === 'run' && args[0] !== undefined) {
    await prepare();
    return node(resolve(ROOT, args[0]), args.slice(1));
  }
  process.stderr.write('usage: bootstrap.mjs quickstart [args] | test [filters] | run FILE [args]\n');
  return 2;
}

try {
  process.exitCode = await main(process.argv[2], process.argv.slice(3));
} catch (error) {
  if (!(error instanceof SetupFailure)) throw error;
  process.stderr.write(`error ${error.message}\n`);
  process.exitCode = 1;
}
