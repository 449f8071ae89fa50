// A file system of a few megabytes that a test can fill: a tmpfs in a mount namespace of its own, without rights of root.

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

/** Mounts in its own namespace; the user namespace gives the right to. It ends, and the disk with it, when stdin does. */
const holder = (at: string, bytes: number) =>
  ['-Urm', 'sh', '-c', `mount -t tmpfs -o size=${bytes} none '${at}' && echo mounted && cat`] as const;

/** Why no such disk can be had here, or null. */
function missing(): string | null {
  if (process.platform !== 'linux') return `no mount namespaces on ${process.platform}`;
  const at = mkdtempSync(join(tmpdir(), 'medium-recipe-disk-'));
  const { status, stderr, error } = spawnSync('unshare', holder(at, 1 << 20), { input: '', encoding: 'utf8' });
  rmdirSync(at);
  return status === 0 ? null : `unshare -Urm and mount do not work here (${error?.message ?? stderr.trim()})`;
}

/** For a test's options: skips aloud where there are no such disks, and fails instead under CI=true. */
export function smallDisks(): { skip: string | false } {
  const reason = missing();
  if (reason !== null && process.env['CI'] === 'true') throw new Error(`a small disk is required here, but: ${reason}`);
  return { skip: reason ?? false };
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export async function smallDisk(bytes: number): Promise<SmallDisk> {
  const at = mkdtempSync(join(tmpdir(), 'medium-recipe-disk-'));
  const child = spawn('unshare', holder(at, bytes), { stdio: ['pipe', 'pipe', 'inherit'] });
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
