// A file system of a few megabytes that a test can fill: a tmpfs in a mount namespace of its own; no rights are needed.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface SmallDisk {
  /** As other processes of this machine reach it. */
  readonly dir: string;
  /** Fills it up to so many free bytes, or frees what filled it. */
  leave(bytes: number): void;
  remove(): Promise<void>;
}

/** A mount namespace by a user namespace of its own, or by the rights of root. */
const WAYS = ['-Urm', '-m'] as const;

/** Arguments of `unshare`: the disk ends with the shell, and that when its stdin does. */
const holder = (way: string, at: string, bytes: number) =>
  [way, 'sh', '-c', `mount -t tmpfs -o size=${bytes} none '${at}' && echo mounted && cat`] as const;

/** The way that works here, or why none does. */
function tried(): { readonly way: string } | { readonly reason: string } {
  if (process.platform !== 'linux') return { reason: `no mount namespaces on ${process.platform}` };
  const at = newMountPoint();
  const reasons: string[] = [];
  try {
    for (const way of WAYS) {
      const { status, stderr, error } = spawnSync('unshare', holder(way, at, 1 << 20), { input: '', encoding: 'utf8' });
      if (status === 0) return { way };
      reasons.push(`unshare ${way}: ${error?.message ?? stderr.trim()}`);
    }
  } finally {
    rmdirSync(at);
  }
  return { reason: reasons.join('; ') };
}

const newMountPoint = () => mkdtempSync(join(tmpdir(), 'medium-recipe-disk-'));
const found = tried();

/** For a test's options: skips aloud where nobody may mount one, and fails instead where MEDIUM_RECIPE_REQUIRE names it. */
export function smallDisks(): { skip: string | false } {
  if ('way' in found) return { skip: false };
  if ((process.env['MEDIUM_RECIPE_REQUIRE'] ?? '').split(',').includes('small-disk'))
    throw new Error(`a small disk is required here, but: ${found.reason}`);
  return { skip: found.reason };
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export async function smallDisk(bytes: number): Promise<SmallDisk> {
  if (!('way' in found)) throw new Error(found.reason);
  const at = newMountPoint();
  const child = spawn('unshare', holder(found.way, at, bytes), { stdio: ['pipe', 'pipe', 'inherit'] });
  running.add(child);
  const ended = once(child, 'exit');
  const [line] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended]);
  if (line !== 'mounted') throw new Error(`no small disk: ${line}`);
  const dir = join('/proc', String(child.pid), 'root', at);
  const ballast = join(dir, 'ballast');
  return {
    dir,
    leave: (free) => {
      rmSync(ballast, { force: true });
      const { bavail, bsize } = statfsSync(dir);
      if (free < bavail * bsize) writeFileSync(ballast, Buffer.alloc(bavail * bsize - free));
    },
    remove: async () => {
      child.stdin.end();
      await ended;
      running.delete(child);
      rmdirSync(at);
    },
  };
}
