// The cache folder outside the checkout: where it is, a lock by process, temporary folders that a crash leaves to be swept.

import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  createReadStream,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** `MEDIUM_RECIPE_CACHE`, else `~/.cache/medium-recipe`. Checkouts share it. */
export function cacheRoot() {
  return resolve(process.env['MEDIUM_RECIPE_CACHE'] || join(homedir(), '.cache', 'medium-recipe'));
}

/**
 * Names a process beyond the reuse of its pid: pid and start time; null where no such process lives. One that is dead
 * and only waits for its parent to ask (a zombie) does not live.
 * @param {number} pid
 * @returns {string | null}
 */
export function identity(pid) {
  try {
    if (process.platform === 'linux') {
      // From the third field on: state, …, threads (18th), …, start time in ticks (20th); the second may hold spaces and
      // parentheses. While other threads still end, a dead first thread's process has its ports and files.
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const dead = (fields[0] === 'Z' && fields[17] === '1') || fields[0] === 'X';
      return dead ? null : `${pid}-${fields[19]}`;
    }
    const [state = 'Z', ...started] = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
    })
      .trim()
      .split(/\s+/);
    const hash = createHash('sha256').update(started.join(' ')).digest('hex').slice(0, 12);
    return state.startsWith('Z') ? null : `${pid}-${hash}`;
  } catch {
    return null; // no such process
  }
}

/** Machines and containers may share a cache: a pid says nothing without its host. */
const self = `${identity(process.pid)}@${hostname()}`;

/** After so long what another host left counts as abandoned, since we cannot ask whether its process lives; ms. */
const ABANDONED_AFTER = 2 * 3_600_000;

/**
 * @param {string} path a lock or a temporary folder
 * @param {string} owner `self` of the process that made it
 */
function abandoned(path, owner) {
  const [name = '', host] = owner.split('@');
  if (host === hostname()) return identity(Number(name.split('-')[0])) !== name;
  const made = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return Date.now() - made > ABANDONED_AFTER;
}

/** @param {string} file */
function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

/**
 * Runs `body` while no other process holds the lock file. A dead owner's lock is taken over.
 * It only saves double work: everything under it is published by rename and right without it.
 * @template T
 * @param {string} file
 * @param {(owner: string) => void} onWait told once, with the owner's pid, start time and host
 * @param {() => Promise<T>} body
 * @returns {Promise<T>}
 */
export async function withLock(file, onWait, body) {
  mkdirSync(dirname(file), { recursive: true });
  const mine = `${file}.${self}.${randomBytes(4).toString('hex')}`;
  writeFileSync(mine, self);
  try {
    for (let told = false; ; ) {
      try {
        linkSync(mine, file); // a link appears with its content, a created file would be empty for a moment
        break;
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
      }
      const owner = read(file);
      if (owner !== null && abandoned(file, owner)) takeAway(file, owner);
      else if (owner !== null) {
        if (!told) onWait(owner);
        told = true;
        await sleep(100);
      }
    }
  } finally {
    unlinkSync(mine);
  }
  try {
    return await body();
  } finally {
    if (read(file) === self) rmSync(file, { force: true });
  }
}

/**
 * Removes a dead owner's lock. Between our look and the rename another process may have done so and locked anew: then
 * what we hold is its lock, and it goes back.
 * @param {string} file
 * @param {string} owner
 */
function takeAway(file, owner) {
  const aside = `${file}.${self}.dead`;
  try {
    renameSync(file, aside);
    if (read(aside) !== owner) linkSync(aside, file);
  } catch {
    // Somebody else was faster; the caller looks again.
  }
  rmSync(aside, { force: true });
}

/**
 * A fresh folder under `root`/tmp, on the same file system as what it will be renamed to. Folders of dead processes go.
 * @param {string} root
 */
export function temporary(root) {
  const tmp = join(root, 'tmp');
  mkdirSync(tmp, { recursive: true });
  for (const name of readdirSync(tmp)) {
    const path = join(tmp, name);
    if (abandoned(path, name.slice(0, name.lastIndexOf('-')))) rmSync(path, { recursive: true, force: true });
  }
  const folder = join(tmp, `${self}-${randomBytes(4).toString('hex')}`);
  mkdirSync(folder);
  return folder;
}

/**
 * Writes a file aside and renames it, so that a reader sees the old or the new one.
 * @param {string} file
 * @param {string | Uint8Array} content
 */
export function writeAtomically(file, content) {
  const aside = `${file}.${self}`;
  writeFileSync(aside, content);
  renameSync(aside, file);
}

/**
 * @param {string} file
 * @returns {Promise<string>} hex
 */
export async function sha256(file) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}
