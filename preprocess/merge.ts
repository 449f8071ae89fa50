// Joins the parts that N machines have packed to what one machine would have written, byte for byte.

import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { copyFile, link, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, MANIFEST_FILE, type Manifest, readManifest } from '#shards';
import { assemble } from './assemble.ts';
import { type GroupRecord, groupName } from './group.ts';
import { type Group, groupsOf, type Job, jobOf, mustBeSameJob, wholeOf } from './job.ts';
import { type PackedPart, readPart } from './part.ts';
import { inWorkspace } from './workspace.ts';

export interface MergeOptions {
  readonly out: string;
  /** Folders of finished parts, in any order. */
  readonly parts: readonly string[];
  readonly resume: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, groups: number) => void;
}

/** One group and the folder that holds its shards. */
interface Held {
  readonly dir: string;
  readonly record: GroupRecord;
}

/**
 * Links (or, across file systems, copies) every shard into `out`, checks its hash, and writes the manifest.
 * @throws Fault of the workspace; `no-part`, `part-damaged`, `part-twice`, `parts-missing`, `job-differs`, `shard-damaged`
 */
export async function merge({ out, parts, resume, signal, onProgress }: MergeOptions): Promise<Manifest> {
  const { job, held } = await gather(parts);
  return inWorkspace({ out, resume }, async (workspace) => {
    if (workspace.finished === MANIFEST_FILE) {
      const manifest = await readManifest(out);
      mustBeSameJob(jobOf(manifest), job, out);
      return manifest;
    }
    await workspace.begin(job);
    let done = 0;
    for (const { dir, record } of held) {
      signal?.throwIfAborted();
      if (!workspace.isDone(record)) {
        for (const { file, sha256 } of filesOf(record)) await take(join(dir, file), join(workspace.out, file), sha256);
        await workspace.record(record);
      }
      onProgress?.(++done, held.length);
    }
    return assemble(workspace, job);
  });
}

/** The parts' common job, and every group of it in order. */
async function gather(dirs: readonly string[]): Promise<{ job: Job; held: readonly Held[] }> {
  const parts: { dir: string; packed: PackedPart }[] = [];
  for (const dir of dirs) parts.push({ dir, packed: await readPart(dir) });
  const [first] = parts;
  if (!first) throw new RangeError('no part to merge');
  const job = wholeOf(first.packed.job);
  const held = new Map<string, Held>();
  for (const { dir, packed } of parts) {
    mustBeSameJob(job, wholeOf(packed.job), first.dir);
    for (const record of packed.groups) {
      const twice = held.get(groupName(record));
      if (twice) throw partTwice(dir, twice.dir, groupName(record));
      held.set(groupName(record), { dir, record });
    }
  }
  const groups = groupsOf(job);
  const missing = groups.filter((group) => !held.has(groupName(group)));
  if (missing.length > 0)
    throw new Fault({
      code: 'parts-missing',
      received: `${parts.length} parts without ${missing.length} of ${groups.length} shards (${groupName(missing[0] as Group)}, …)`,
      expected: `all ${first.packed.job.part?.of} parts`,
      remedy: 'name the folder of every part',
    });
  return { job, held: groups.map((group) => held.get(groupName(group)) as Held) };
}

function filesOf({ buckets }: GroupRecord): { file: string; sha256: string }[] {
  return buckets.flatMap(({ shard }) => {
    const stem = shard.file.replace(/\.tar$/, '');
    return [
      { file: shard.file, sha256: shard.sha256 },
      { file: `${stem}.idx`, sha256: shard.idxSha256 },
      { file: `${stem}.index.safetensors`, sha256: shard.indexSha256 },
    ];
  });
}

/** A hard link takes no room; where there can be none, the bytes are copied and made durable. */
async function take(from: string, to: string, sha256: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EXDEV' && code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EMLINK') throw asMissing(error, from);
    await copyDurably(from, to);
  }
  const found = await sha256Of(to);
  if (found === sha256) return;
  await rm(to, { force: true });
  throw new Fault({
    code: 'shard-damaged',
    received: `${from} with sha256 ${found}`,
    expected: `${sha256}, as in its part`,
    remedy: 'copy that part again, or pack it again',
  });
}

async function copyDurably(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  const file = await open(to, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

function asMissing(error: unknown, path: string): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return error;
  return new Fault({
    code: 'shard-missing',
    received: `${path} is not there`,
    expected: 'every shard that the part lists',
    remedy: 'copy that part again, or pack it again',
    cause: error,
  });
}

function partTwice(dir: string, other: string, name: string): Fault {
  return new Fault({
    code: 'part-twice',
    received: `${name} in ${other} and in ${dir}`,
    expected: 'each part once',
    remedy: 'name each part once',
  });
}
