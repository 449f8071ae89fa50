// The folder a run packs into: a sibling of the target that takes its name when everything is done, or disappears.

import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { Fault, syncFolder } from '#shards';

const OWNER_FILE = '.owner';

export interface Staging {
  readonly dir: string;
  /** A killed run had left one; it was removed. */
  readonly replacedStale: boolean;
  /** Gives the folder the target's name. */
  commit(): Promise<void>;
  /** Removes it and the parents that were made for it. */
  discard(): Promise<void>;
}

/** @throws Fault `target-exists`, `target-busy` */
export async function openStaging(out: string): Promise<Staging> {
  const target = resolve(out);
  const parent = dirname(target);
  const dir = join(parent, `.${basename(target)}.partial`);
  await mustBeFree(target);
  const replacedStale = await removeStale(dir, target);
  const firstMade = await mkdir(parent, { recursive: true });
  await mkdir(dir);
  await writeFile(join(dir, OWNER_FILE), JSON.stringify({ pid: process.pid, host: hostname() }));
  return {
    dir,
    replacedStale,
    async commit() {
      await rm(join(dir, OWNER_FILE));
      await syncFolder(dir);
      await rmdir(target).catch(ignoreMissing);
      await rename(dir, target);
      await syncFolder(parent);
    },
    async discard() {
      await rm(dir, { recursive: true, force: true });
      if (firstMade !== undefined) await removeEmpty(parent, firstMade);
    },
  };
}

async function mustBeFree(target: string): Promise<void> {
  const inTheWay = await readdir(target).then(
    ({ length }) => (length === 0 ? null : `${target} holds ${length} files or folders`),
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      if (error.code === 'ENOTDIR') return `${target} is a file or lies below one`;
      throw error;
    },
  );
  if (inTheWay === null) return;
  throw new Fault({
    code: 'target-exists',
    received: inTheWay,
    expected: 'a new or empty folder as --out',
    remedy: 'give another --out, or remove that one',
  });
}

/** A staging folder whose owner lives belongs to a run under way; any other is what a killed run left. */
async function removeStale(dir: string, target: string): Promise<boolean> {
  const text = await readFile(join(dir, OWNER_FILE), 'utf8').catch(() => '');
  const [, pid = '', host = ''] = /^\{"pid":(\d+),"host":"([^"]*)"\}$/.exec(text) ?? [];
  if (pid !== '' && (host !== hostname() || isAlive(Number(pid))))
    throw new Fault({
      code: 'target-busy',
      received: `process ${pid} on ${host} packs into ${target}`,
      expected: 'one run a target',
      remedy: `wait for it, give another --out, or remove ${dir} if that process is another one or gone`,
    });
  const existed = await readdir(dir).then(
    () => true,
    () => false,
  );
  await rm(dir, { recursive: true, force: true });
  return existed;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Removes `folder` and its parents up to and with `last`, as long as they are empty. */
async function removeEmpty(folder: string, last: string): Promise<void> {
  for (let at = folder; at.startsWith(last); at = dirname(at)) {
    const emptied = await rmdir(at).then(
      () => true,
      () => false,
    );
    if (!emptied) return;
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
