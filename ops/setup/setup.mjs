#!/usr/bin/env node
// `npm run setup`: gives @tensorflow/tfjs-node a current libtensorflow from PyPI's wheel and its addon, or says why not.
//
// Flags: --require-native (also with CI=true) fails where only wasm is left; --prebuild makes the shipped addon again.

import {
  existsSync,
  lstatSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { addonPath, compileAddon, prebuilt, ship, sourcesHash, usePrebuilt } from './addon.mjs';
import { cacheRoot, sha256, writeAtomically } from './cache.mjs';
import { runChild } from './child.mjs';
import { SetupFailure } from './failure.mjs';
import { damage, ensureLibtensorflow } from './wheel.mjs';

/**
 * @typedef {{ tfjsNode: string, napi: number, libtensorflow: string, python: string, wheels: Record<string, Omit<import('./wheel.mjs').WheelPin, 'version' | 'python'>> }} Pins
 * @typedef {{ tfjsNode: string, wheel: string, cache: string, addon: string, sources: string, from: 'prebuilt' | 'compiled' }} Stamp
 *   what the last setup found good: version, and sha256 of wheel, addon and the addon's sources
 * @typedef {({ backend: 'tfjs-node' } & Stamp) | { backend: 'wasm', reason: string }} State
 */

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PKG = join(ROOT, 'node_modules', '@tensorflow', 'tfjs-node');
/** Inside node_modules, so that `npm ci` takes it along with what it speaks of. */
const STATE = join(ROOT, 'node_modules', '.medium-recipe-native.json');
const PLATFORM = `${process.platform}-${process.arch}`;

/** @type {Pins} */
const pins = JSON.parse(readFileSync(new URL('pins.json', import.meta.url), 'utf8'));

/** @returns {import('./wheel.mjs').WheelPin} */
function wheelPin() {
  const pin = pins.wheels[PLATFORM];
  const platforms = Object.keys(pins.wheels).join(', ');
  if (pin === undefined) throw noWheel(PLATFORM, `use one of ${platforms} for the native backend`);
  // Node leaves the field out on musl, for which there are no such wheels.
  const { report } = process;
  // Without this the report looks up the names of open sockets.
  if (report !== undefined) Object.assign(report, { excludeNetwork: true });
  const header = /** @type {{ header?: { glibcVersionRuntime?: string } } | undefined} */ (report?.getReport())?.header;
  const glibc = header?.glibcVersionRuntime;
  if (process.platform === 'linux' && glibc === undefined) throw noWheel('Linux with musl', 'use a glibc distribution');
  if (glibc !== undefined && Number(glibc.split('.')[1]) < 27)
    throw noWheel(`glibc ${glibc}`, 'glibc 2.27 or newer is needed');
  return { ...pin, version: pins.libtensorflow, python: pins.python };
}

/** @param {string} platform @param {string} remedy */
const noWheel = (platform, remedy) =>
  new SetupFailure('no-wheel', `there is no libtensorflow wheel for ${platform}`, remedy);

/** @param {import('./wheel.mjs').WheelPin} pin */
const cacheDir = (pin) => join(cacheRoot(), `libtensorflow-${pin.version}-${PLATFORM}`);

/** @returns {State | null} */
function readState() {
  try {
    return JSON.parse(readFileSync(STATE, 'utf8'));
  } catch {
    return null;
  }
}

/**
 * Whether the native backend is in place, by versions, links, sizes and the addon's hash; loads nothing (the library is
 * 600 MB). `reason` is what is missing, or null.
 * @returns {Promise<{ ready: boolean, reason: string | null }>}
 */
export async function nativeState() {
  try {
    const reason = await missing(wheelPin(), readState());
    return { ready: reason === null, reason };
  } catch (error) {
    if (error instanceof SetupFailure) return { ready: false, reason: error.message };
    throw error;
  }
}

/**
 * @param {import('./wheel.mjs').WheelPin} pin
 * @param {State | null} state
 * @returns {Promise<string | null>}
 */
async function missing(pin, state) {
  if (state === null) return 'npm run setup has not been run';
  if (state.backend === 'wasm') return state.reason;
  if (state.tfjsNode !== pins.tfjsNode || state.wheel !== pin.sha256) return 'the pinned versions changed';
  const damaged = damage(state.cache, pin);
  if (damaged !== null) return `cached libtensorflow: ${damaged}`;
  if (state.cache !== cacheDir(pin)) return 'the cache folder moved';
  const deps = join(PKG, 'deps');
  if (!existsSync(deps) || realpathSync(deps) !== realpathSync(state.cache))
    return 'tfjs-node is not linked to the cache';
  const addon = addonPath(PKG, pins.napi);
  if (!existsSync(addon) || (await sha256(addon)) !== state.addon) return 'the addon is missing or another one';
  if (sourcesHash(PKG) !== state.sources) return "the addon's sources changed";
  return null;
}

/**
 * Links `deps` of the package to a cache entry, replacing whatever is there.
 * @param {string} dir
 */
function link(dir) {
  const deps = join(PKG, 'deps');
  const stat = lstatSync(deps, { throwIfNoEntry: false });
  if (stat?.isSymbolicLink() && readlinkSync(deps) === dir) return;
  if (stat !== undefined && !stat.isSymbolicLink()) rmSync(deps, { recursive: true });
  const aside = `${deps}.${process.pid}`;
  rmSync(aside, { force: true });
  symlinkSync(dir, aside);
  renameSync(aside, deps);
}

const PROOF = `
const tf = require(process.argv[1]);
const a = tf.tensor2d([[1, 2], [3, 4]]);
console.log(JSON.stringify([tf.getBackend(), tf.backend().binding.TF_Version, ...a.matMul(a).dataSync()]));
`;

/**
 * Loads the addon and the library in a child process and multiplies; a wrong library may crash.
 * @returns {Promise<string | null>} what went wrong
 */
async function prove() {
  // The first load reads 600 MB, half a minute from a cold disk.
  const { code, signal, stdout, stderr } = await runChild(process.execPath, ['-e', PROOF, PKG], {
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' },
    timeoutMs: 300_000,
  });
  if (code === 0 && stdout.trim().endsWith(JSON.stringify(['tensorflow', pins.libtensorflow, 7, 10, 15, 22])))
    return null;
  const error = stderr.split('\n').find((line) => /error/i.test(line)) ?? stdout.trim();
  return signal === null ? `exit ${code}: ${error}` : `killed by ${signal}`;
}

/**
 * Makes the native backend work, or leaves a state that says why wasm must serve. Cheap when all is right.
 * @param {{ compile?: boolean, say?: (line: string) => void }} [options] `compile` leaves the shipped addon aside
 * @returns {Promise<State>}
 */
export async function setup({ compile = process.env['MEDIUM_RECIPE_COMPILE'] === '1', say = print } = {}) {
  const manifest = join(PKG, 'package.json');
  if (!existsSync(manifest))
    throw new SetupFailure('not-installed', '@tensorflow/tfjs-node is not installed', "run 'npm ci' first");
  const installed = JSON.parse(readFileSync(manifest, 'utf8')).version;
  if (installed !== pins.tfjsNode) {
    throw new SetupFailure(
      'other-version',
      `tfjs-node ${installed} is installed, and ${pins.tfjsNode} is pinned`,
      "run 'npm ci'",
    );
  }
  /** @type {State} */
  let state;
  try {
    state = await native({ pin: wheelPin(), compile, say });
  } catch (error) {
    if (!(error instanceof SetupFailure)) throw error;
    state = { backend: 'wasm', reason: error.message };
    say(`no native backend, wasm will serve: ${error.message}`);
  }
  const text = `${JSON.stringify(state, null, 2)}\n`;
  if (!existsSync(STATE) || readFileSync(STATE, 'utf8') !== text) writeAtomically(STATE, text);
  return state;
}

/**
 * @param {{ pin: import('./wheel.mjs').WheelPin, compile: boolean, say: (line: string) => void }} options
 * @returns {Promise<State>}
 */
async function native({ pin, compile, say }) {
  const before = readState();
  const reason = await missing(pin, before);
  if (before?.backend === 'tfjs-node' && reason === null && !(compile && before.from === 'prebuilt')) {
    say(`tfjs-node ${pins.tfjsNode} on libtensorflow ${pins.libtensorflow} is ready`);
    return before;
  }
  const root = cacheRoot();
  const dir = cacheDir(pin);
  const fresh = await ensureLibtensorflow({ root, dir, pin, say });
  say(`${fresh ? 'made' : 'found'} libtensorflow ${pin.version} in ${dir}`);
  link(dir);
  /** @type {Stamp['from']} */
  let from = 'prebuilt';
  let wrong = null;
  if (!compile && (await usePrebuilt({ pkg: PKG, platform: PLATFORM, napi: pins.napi, say }))) {
    wrong = await prove();
    if (wrong !== null) say(`the shipped addon does not load here (${wrong})`);
  } else wrong = '';
  if (wrong !== null) {
    await compileAddon({ root, pkg: PKG, napi: pins.napi, say });
    from = 'compiled';
    wrong = await prove();
    if (wrong !== null) {
      throw new SetupFailure(
        'native-load-failed',
        wrong,
        "run 'MEDIUM_RECIPE_COMPILE=1 npm run setup', and see ops/setup/README.md",
      );
    }
  }
  say(`tfjs-node ${pins.tfjsNode} on libtensorflow ${pins.libtensorflow} works (loaded and multiplied)`);
  const addon = await sha256(addonPath(PKG, pins.napi));
  const stamp = { tfjsNode: pins.tfjsNode, wheel: pin.sha256, cache: dir, addon, sources: sourcesHash(PKG), from };
  return { backend: 'tfjs-node', ...stamp };
}

/** @param {string} line */
const print = (line) => process.stdout.write(`setup: ${line}\n`);

/** Whether a wasm outcome counts as failure here. */
export const nativeRequired = () => process.env['CI'] === 'true';

/** @param {readonly string[]} args @returns {Promise<number>} exit code */
async function main(args) {
  const unknown = args.find((arg) => !['--require-native', '--prebuild'].includes(arg));
  if (unknown !== undefined) {
    process.stderr.write(`error unknown argument ${unknown}; expected --require-native or --prebuild\n`);
    return 2;
  }
  const state = await setup(args.includes('--prebuild') ? { compile: true } : {});
  if (args.includes('--prebuild')) {
    if (state.backend === 'wasm') return 1;
    const compiled = await compileAddon({ root: cacheRoot(), pkg: PKG, napi: pins.napi, say: print });
    await ship({ pkg: PKG, platform: PLATFORM, napi: pins.napi, compiled });
    print(`shipped addon for ${PLATFORM}: sha256 ${prebuilt(PLATFORM)?.card.sha256}`);
  }
  return state.backend === 'wasm' && (args.includes('--require-native') || nativeRequired()) ? 1 : 0;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof SetupFailure)) throw error;
    process.stderr.write(`error ${error.message}\n`);
    process.exitCode = 1;
  }
}
