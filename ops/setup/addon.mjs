// The N-API addon of tfjs-node: a shipped binary when it was compiled from exactly the installed sources, else one g++ line.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sha256, temporary, writeAtomically } from './cache.mjs';
import { runChild, which } from './child.mjs';
import { SetupFailure } from './failure.mjs';

/**
 * @typedef {{ sha256: string, sources: string, napi: number, compiler: string, compile: string }} PrebuiltCard
 *   sha256 of the binary and of its sources (`sourcesHash`), Node-API version, and how it was compiled
 */

const PREBUILT = fileURLToPath(new URL('prebuilt', import.meta.url));

/**
 * One sha256 over name and bytes of every source in the package's binding folder, by name.
 * @param {string} pkg folder of @tensorflow/tfjs-node
 */
export function sourcesHash(pkg) {
  const hash = createHash('sha256');
  const names = readdirSync(join(pkg, 'binding')).filter((name) => /\.(cc|h)$/.test(name));
  for (const name of names.sort())
    hash
      .update(`${name}\0`)
      .update(readFileSync(join(pkg, 'binding', name)))
      .update('\0');
  return hash.digest('hex');
}

/**
 * The shipped addon of a platform, or null.
 * @param {string} platform e.g. linux-x64
 * @returns {{ file: string, card: PrebuiltCard } | null}
 */
export function prebuilt(platform) {
  const file = join(PREBUILT, platform, 'tfjs_binding.node');
  const card = join(PREBUILT, platform, 'tfjs_binding.json');
  return existsSync(file) && existsSync(card) ? { file, card: JSON.parse(readFileSync(card, 'utf8')) } : null;
}

/**
 * Where tfjs-node looks for its addon.
 * @param {string} pkg
 * @param {number} napi
 */
export const addonPath = (pkg, napi) => join(pkg, 'lib', `napi-v${napi}`, 'tfjs_binding.node');

/**
 * Puts the shipped addon in place if its own hash and that of its sources are right.
 * @param {{ pkg: string, platform: string, napi: number, say: (line: string) => void }} options
 * @returns {Promise<boolean>}
 */
export async function usePrebuilt({ pkg, platform, napi, say }) {
  const shipped = prebuilt(platform);
  if (shipped === null) {
    say(`no addon is shipped for ${platform}`);
    return false;
  }
  const { file, card } = shipped;
  if (card.napi !== napi || card.sources !== sourcesHash(pkg)) {
    say("the shipped addon was made from other sources than the installed tfjs-node's");
    return false;
  }
  if ((await sha256(file)) !== card.sha256) {
    say('the shipped addon is damaged');
    return false;
  }
  const target = addonPath(pkg, napi);
  mkdirSync(dirname(target), { recursive: true });
  writeAtomically(target, readFileSync(file));
  say('took the shipped addon (its sources are the installed ones)');
  return true;
}

/**
 * Folder of node_api.h. Node's own tarballs and most packages have it beside the executable.
 * @returns {string}
 */
function nodeHeaders() {
  const places = [
    process.env['npm_config_nodedir'] && join(process.env['npm_config_nodedir'], 'include', 'node'),
    join(dirname(dirname(process.execPath)), 'include', 'node'),
    join(homedir(), '.cache', 'node-gyp', process.versions.node, 'include', 'node'),
  ];
  const found = places.find((place) => place && existsSync(join(place, 'node_api.h')));
  if (found) return found;
  throw new SetupFailure(
    'node-headers-missing',
    `no node_api.h beside ${process.execPath}, and the addon must be compiled here`,
    'use a Node from nodejs.org or a version manager, install its headers (Debian: libnode-dev), or let npm_config_nodedir name its folder',
  );
}

/**
 * Arguments of the one compiler line, run in the package's folder: relative paths keep this machine's out of the binary.
 * @param {{ headers: string, napi: number, out: string }} options
 */
function compileLine({ headers, napi, out }) {
  const mac = process.platform === 'darwin';
  return [
    ...['-O2', '-std=gnu++17', '-fPIC', '-shared', `-DNAPI_VERSION=${napi}`, '-DNODE_GYP_MODULE_NAME=tfjs_binding'],
    ...['-DBUILDING_NODE_EXTENSION', '-Ideps/include', `-I${headers}`],
    ...['binding/tfjs_backend.cc', 'binding/tfjs_binding.cc', '-o', out, '-Ldeps/lib'],
    // Node-API's symbols are Node's own: found when the addon is loaded.
    ...(mac
      ? ['-undefined', 'dynamic_lookup', '-Wl,-rpath,@loader_path/../../deps/lib']
      : ['-s', '-Wl,-rpath,$ORIGIN/../../deps/lib']),
    ...['-ltensorflow', '-ltensorflow_framework'],
  ];
}

/**
 * Compiles the addon from the installed sources into its place. `deps/` must be linked already.
 * @param {{ root: string, pkg: string, napi: number, say: (line: string) => void }} options `root` is the cache
 * @returns {Promise<{ compiler: string, compile: string }>} for the card of a shipped addon
 */
export async function compileAddon({ root, pkg, napi, say }) {
  const compiler = ['g++', 'c++', 'clang++'].find((name) => which(name) !== null);
  if (compiler === undefined) {
    throw new SetupFailure(
      'compiler-missing',
      'no g++ on PATH, and no shipped addon fits',
      "install a C++17 compiler (Debian: g++; macOS: xcode-select --install) and run 'npm run setup' again",
    );
  }
  const headers = nodeHeaders();
  say(`compiling the addon with ${compiler}`);
  const tmp = temporary(root);
  try {
    const out = join(tmp, 'tfjs_binding.node');
    const { code, stderr } = await runChild(compiler, compileLine({ headers, napi, out }), { cwd: pkg });
    if (code !== 0) {
      const error = stderr.split('\n').find((line) => /error/i.test(line)) ?? stderr.trim().split('\n').at(-1);
      throw new SetupFailure('compile-failed', `${compiler}: ${error}`, 'a C++17 compiler (g++ 8 or newer) is needed');
    }
    const target = addonPath(pkg, napi);
    mkdirSync(dirname(target), { recursive: true });
    writeAtomically(target, readFileSync(out));
  } finally {
    rmSync(tmp, { recursive: true, force: true });
  }
  const version = (await runChild(compiler, ['--version'])).stdout.split('\n')[0] ?? '';
  const compile = [compiler, ...compileLine({ headers: '<node headers>', napi, out: 'tfjs_binding.node' })].join(' ');
  return { compiler: version, compile };
}

/**
 * Makes the shipped addon of this platform again from the one that was just compiled.
 * @param {{ pkg: string, platform: string, napi: number, compiled: { compiler: string, compile: string } }} options
 */
export async function ship({ pkg, platform, napi, compiled }) {
  const folder = join(PREBUILT, platform);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'tfjs_binding.node');
  writeAtomically(file, readFileSync(addonPath(pkg, napi)));
  /** @type {PrebuiltCard} */
  const card = { sha256: await sha256(file), sources: sourcesHash(pkg), napi, ...compiled };
  writeAtomically(join(folder, 'tfjs_binding.json'), `${JSON.stringify(card, null, 2)}\n`);
}
