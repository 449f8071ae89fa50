// libtensorflow out of PyPI's wheel: download (sha256) → extract → strip → published in the cache by one rename.

import { existsSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sha256, temporary, withLock } from './cache.mjs';
import { runChild, which } from './child.mjs';
import { download, findPip } from './download.mjs';
import { SetupFailure } from './failure.mjs';

/**
 * @typedef {{ wheel: string, version: string, python: string, platform: string, sha256: string, bytes: number, unpackedBytes: number }} WheelPin
 * @typedef {{ bytes: number, mtimeMs: number, sha256: string }} KeptFile
 * @typedef {{ wheel: string, files: Record<string, KeptFile> }} Complete what `complete.json` of a cache entry says
 */

const EXTRACT = fileURLToPath(new URL('extract_wheel.py', import.meta.url));

/**
 * Why a cache entry cannot be used, or null when it can. Sizes and times only, a millisecond's work; `intact` reads on.
 * @param {string} dir
 * @param {WheelPin} pin
 * @returns {string | null}
 */
export function damage(dir, pin) {
  const complete = readComplete(dir);
  if (complete === null) return 'not there';
  if (complete.wheel !== pin.sha256) return 'made from another wheel';
  for (const [name, kept] of Object.entries(complete.files)) {
    const stat = statSync(join(dir, name), { throwIfNoEntry: false });
    if (stat === undefined) return `${name} is missing`;
    if (stat.size !== kept.bytes) return `${name} has ${stat.size} bytes instead of ${kept.bytes}`;
    if (stat.mtimeMs !== kept.mtimeMs) return `${name} was written again`;
  }
  return existsSync(join(dir, 'include/tensorflow/c/c_api.h')) ? null : 'the headers are missing';
}

/** @param {string} dir @returns {Complete | null} */
function readComplete(dir) {
  try {
    return JSON.parse(readFileSync(join(dir, 'complete.json'), 'utf8'));
  } catch {
    return null; // absent or cut short: the same to us
  }
}

/**
 * A cache that was copied has new times but the same bytes: then the times are taken over.
 * @param {string} dir
 * @param {WheelPin} pin
 * @param {(line: string) => void} say
 */
async function intact(dir, pin, say) {
  const reason = damage(dir, pin);
  if (reason === null) return true;
  if (!existsSync(dir)) return false;
  say(`cached libtensorflow: ${reason}, checking it byte by byte`);
  const complete = readComplete(dir);
  if (complete === null || complete.wheel !== pin.sha256) return false;
  for (const [name, kept] of Object.entries(complete.files)) {
    const stat = statSync(join(dir, name), { throwIfNoEntry: false });
    if (stat?.size !== kept.bytes || (await sha256(join(dir, name))) !== kept.sha256) return false;
    kept.mtimeMs = stat.mtimeMs;
  }
  writeFileSync(join(dir, 'complete.json'), JSON.stringify(complete));
  return damage(dir, pin) === null;
}

/**
 * Makes sure that `dir` holds lib/, include/ and the licences of the pinned wheel.
 * @param {{ root: string, dir: string, pin: WheelPin, say: (line: string) => void }} options `dir` lies under `root`
 * @returns {Promise<boolean>} whether it had to be made
 */
export async function ensureLibtensorflow({ root, dir, pin, say }) {
  const lock = join(root, 'locks', `libtensorflow-${pin.sha256.slice(0, 12)}`);
  const wait = (/** @type {string} */ pid) => say(`waiting for ${pid}, which is preparing libtensorflow`);
  return withLock(lock, wait, async () => {
    if (await intact(dir, pin, say)) return false;
    const pip = await findPip();
    const tmp = temporary(root);
    try {
      const wheel = await download({ root, pin, pip, tmp, say });
      await unpack({ wheel, pin, python: pip.command, out: join(tmp, 'unpacked'), say });
      // A damaged entry steps aside whole; processes that have its libraries mapped keep them.
      if (existsSync(dir)) renameSync(dir, join(tmp, 'damaged'));
      renameSync(join(tmp, 'unpacked'), dir);
      rmSync(wheel);
    } finally {
      rmSync(tmp, { recursive: true, force: true });
    }
    return true;
  });
}

/**
 * @param {{ wheel: string, pin: WheelPin, python: string, out: string, say: (line: string) => void }} options
 */
async function unpack({ wheel, pin, python, out, say }) {
  const mac = pin.platform.startsWith('macosx');
  const libraries = ['cc', 'framework'].map((part) => `libtensorflow_${part}.${mac ? '2.dylib' : 'so.2'}`);
  say('unpacking the libraries and headers');
  const { code, stderr } = await runChild(python, [EXTRACT, wheel, out]);
  const missing = libraries.filter((name) => !existsSync(join(out, 'lib', name)));
  if (code !== 0 || missing.length > 0) {
    throw new SetupFailure(
      'unpack-failed',
      code === 0 ? `the wheel holds no ${missing.join(', ')}` : (stderr.trim().split('\n').at(-1) ?? `exit ${code}`),
      "check the space left in the cache folder and run 'npm run setup' again",
    );
  }
  // On macOS stripping breaks the libraries' signatures, without which arm64 does not load them.
  if (!mac && which('strip') !== null) {
    say('stripping them (a third smaller)');
    const stripped = await runChild('strip', ['--strip-unneeded', ...libraries.map((name) => join(out, 'lib', name))]);
    if (stripped.code !== 0) {
      throw new SetupFailure(
        'strip-failed',
        stripped.stderr.trim().split('\n').at(-1) ?? `exit ${stripped.code}`,
        "check the space left in the cache folder and run 'npm run setup' again",
      );
    }
  }
  // The addon is linked with -ltensorflow -ltensorflow_framework.
  const suffix = mac ? 'dylib' : 'so';
  symlinkSync(libraries[0] ?? '', join(out, 'lib', `libtensorflow.${suffix}`));
  symlinkSync(libraries[1] ?? '', join(out, 'lib', `libtensorflow_framework.${suffix}`));
  /** @type {Complete} */
  const complete = { wheel: pin.sha256, files: {} };
  for (const name of libraries.map((library) => `lib/${library}`)) {
    const { size, mtimeMs } = statSync(join(out, name));
    complete.files[name] = { bytes: size, mtimeMs, sha256: await sha256(join(out, name)) };
  }
  writeFileSync(join(out, 'complete.json'), JSON.stringify(complete));
}
