// The pinned wheel into the cache: by byte ranges into a file that the next setup goes on with, else by `pip download`.

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sha256 } from './cache.mjs';
import { runChild, which } from './child.mjs';
import { SetupFailure } from './failure.mjs';

/**
 * @typedef {import('./wheel.mjs').WheelPin} WheelPin
 * @typedef {{ command: string, version: number[] }} Pip a Python that has pip, and pip's version
 * @typedef {(line: string) => void} Say
 */

const FETCH = fileURLToPath(new URL('fetch_wheel.py', import.meta.url));

/** fetch_wheel.py's exit code for: this pip, index or server is not one that it knows how to use. */
const LEAVE_TO_PIP = 2;

/** @returns {Promise<Pip>} */
export async function findPip() {
  for (const command of ['python3', 'python']) {
    if (which(command) === null) continue;
    const { code, stdout } = await runChild(command, ['-m', 'pip', '--version']);
    const version = /^pip (\d+)\.(\d+)/.exec(stdout);
    if (code === 0 && version !== null) return { command, version: version.slice(1).map(Number) };
  }
  throw new SetupFailure(
    'pip-missing',
    'no python3 with pip on PATH, and libtensorflow comes out of a wheel that pip downloads',
    "install Python 3 with pip (Debian: python3-pip) and run 'npm run setup' again",
  );
}

/**
 * The checked wheel, kept in `wheels/` until it is unpacked, as is the part of it that an interrupted setup got.
 * @param {{ root: string, pin: WheelPin, pip: Pip, tmp: string, say: Say }} options
 * @returns {Promise<string>} path
 */
export async function download({ root, pin, pip, tmp, say }) {
  const kept = join(root, 'wheels', `${pin.wheel}-${pin.version}-${pin.platform}.whl`);
  if (existsSync(kept)) {
    if ((await sha256(kept)) === pin.sha256) {
      say('going on with the wheel that an earlier setup downloaded');
      return kept;
    }
    say('an earlier download is damaged and goes');
    rmSync(kept);
  }
  const partial = `${kept}.partial`;
  const { bavail, bsize } = statfsSync(tmp);
  const needed = pin.bytes + pin.unpackedBytes - bytesOf(partial);
  if (bavail * bsize < needed) {
    throw new SetupFailure(
      'disk-full',
      `${root} has ${megabytes(bavail * bsize)} free and needs ${megabytes(needed)} while unpacking`,
      'free some space, or let MEDIUM_RECIPE_CACHE name a folder on a larger disk',
    );
  }
  mkdirSync(join(root, 'wheels'), { recursive: true });
  say(`downloading ${pin.wheel} ${pin.version} for ${pin.platform} (${megabytes(pin.bytes)}) from pip's index`);
  const file = (await byRanges({ partial, pin, pip, say })) ? partial : await byPip({ pin, pip, tmp });
  renameSync(file, kept);
  rmSync(partial, { force: true });
  return kept;
}

/** What to get, as pip's download command reads it. @param {WheelPin} pin */
const requirement = (pin) => [
  ...[`${pin.wheel}==${pin.version}`, '--no-deps', '--no-cache-dir', '--only-binary=:all:'],
  ...['--implementation', 'cp', '--python-version', pin.python, '--platform', pin.platform],
];

/**
 * Completes `partial` and checks it. An earlier setup's part that turns out wrong goes, and the wheel is fetched whole.
 * @param {{ partial: string, pin: WheelPin, pip: Pip, say: Say }} options
 * @returns {Promise<boolean>} false where the download is left to pip
 */
async function byRanges({ partial, pin, pip, say }) {
  const earlier = bytesOf(partial);
  if (earlier > 0) say(`going on at byte ${earlier} of ${pin.bytes}, where an earlier setup was interrupted`);
  if (earlier < pin.bytes) {
    const terminal = process.stdout.isTTY === true;
    const args = [FETCH, partial, String(pin.bytes), ...requirement(pin)];
    const { code, stdout, stderr } = await runChild(pip.command, args, { stdout: terminal ? 'inherit' : 'pipe' });
    for (const line of stdout.split(/[\r\n]+/).filter(Boolean)) say(line);
    // Where nothing can be reached pip would wait as long once more.
    if (code === LEAVE_TO_PIP && !unreachable(stderr)) {
      say(`leaving the download to pip, which cannot resume it (${lastLine(stderr)})`);
      return false;
    }
    if (code !== 0) throw failed(pin, code, stderr);
  }
  const got = await sha256(partial);
  if (got === pin.sha256) return true;
  rmSync(partial);
  if (earlier === 0) throw mismatch(got, pin);
  say('with the earlier part the sha256 is wrong: fetching the wheel whole');
  return byRanges({ partial, pin, pip, say });
}

/**
 * pip's unfinished file lies in `tmp` and goes with it.
 * @param {{ pin: WheelPin, pip: Pip, tmp: string }} options
 * @returns {Promise<string>} path of the checked wheel
 */
async function byPip({ pin, pip, tmp }) {
  const [major = 0, minor = 0] = pip.version;
  const folder = join(tmp, 'download');
  const terminal = process.stdout.isTTY === true;
  const { code, stderr } = await runChild(
    pip.command,
    [
      ...['-m', 'pip', 'download', '--disable-pip-version-check', ...requirement(pin), '--dest', folder],
      ...(terminal ? [] : ['--quiet']),
      // From 25.1 on pip asks for the missing bytes when a connection breaks.
      ...(major > 25 || (major === 25 && minor >= 1) ? ['--resume-retries', '10'] : []),
    ],
    // pip leaves its unfinished file in TMPDIR when it is killed: there it is swept.
    { stdout: terminal ? 'inherit' : 'pipe', env: { ...process.env, TMPDIR: tmp } },
  );
  const name = code === 0 ? readdirSync(folder).find((file) => file.endsWith('.whl')) : undefined;
  if (name === undefined) throw failed(pin, code, stderr);
  const got = await sha256(join(folder, name));
  if (got !== pin.sha256) throw mismatch(got, pin);
  return join(folder, name);
}

/** @param {string} file @returns {number} 0 where there is none */
const bytesOf = (file) => statSync(file, { throwIfNoEntry: false })?.size ?? 0;

/**
 * pip ends with 'No matching distribution' even where it reached no index at all.
 * @param {string} stderr
 */
const unreachable = (stderr) => /ConnectionError|ConnectTimeout|SSLError|ProxyError|NameResolution/.test(stderr);

/** @param {string} stderr */
function lastLine(stderr) {
  const lines = stderr.trim().split('\n');
  return lines.findLast((line) => line.startsWith('ERROR')) ?? lines.at(-1);
}

/** @param {WheelPin} pin @param {number} code @param {string} stderr */
const failed = (pin, code, stderr) =>
  new SetupFailure(
    'download-failed',
    `could not get ${pin.wheel}==${pin.version} (${unreachable(stderr) ? "pip's index cannot be reached" : lastLine(stderr) || `exit ${code}`})`,
    "check the network and pip's index ('python3 -m pip config list') and run 'npm run setup' again",
  );

/** @param {string} got @param {WheelPin} pin */
const mismatch = (got, pin) =>
  new SetupFailure(
    'wheel-mismatch',
    `the wheel ${pin.wheel} ${pin.version} has sha256 ${got}, and ops/setup/pins.json expects ${pin.sha256}`,
    "run 'npm run setup' again; if it stays so, pip's index serves another file than PyPI",
  );

/** @param {number} bytes */
const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;
