// Packs a source folder into shards, as a whole or one machine's part of it.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve, sep } from 'node:path';
import {
  type Bucket,
  Fault,
  MANIFEST_FILE,
  type Manifest,
  readManifest,
  type ScanResult,
  WorkerPool,
  writeFileDurably,
} from '#shards';
import { assemble } from './assemble.ts';
import { pixelFingerprint } from './fingerprint.ts';
import { type GroupRecord, groupName } from './group.ts';
import type { PixelSettings } from './image.ts';
import { groupsOf, type Job, jobOf, mustBeSameJob, type Part, wholeOf } from './job.ts';
import type { Listed, ListResult, ListTask } from './list.worker.ts';
import { encodePart, PART_FILE, type PackedPart, readPart } from './part.ts';
import type { Progress } from './progress.ts';
import { GroupRun, openShardPool, type PackPlan, WORKER_HEAP } from './run.ts';
import { Tally } from './tally.ts';
import { inWorkspace, lookAtTarget, type Workspace } from './workspace.ts';

export interface PackOptions {
  readonly source: string;
  readonly out: string;
  readonly buckets: readonly Bucket[];
  readonly pixels: PixelSettings;
  /** For one image. */
  readonly timeoutMs: number;
  /** Groups packed at once, one thread each. */
  readonly workers: number;
  /** `fail`: a source that cannot be packed ends the run. `skip`: it is listed, and the rest packed. */
  readonly onError: 'skip' | 'fail';
  /** With `skip`: the share of sources that may be rejected before the run ends; one always may. */
  readonly maxRejects: number;
  readonly seed: number;
  /** Source positions a shard. */
  readonly shardSamples: number;
  /** Only this share of the shards; `merge` joins them. */
  readonly part?: Part;
  /** Go on where a run into `out` was ended. */
  readonly resume: boolean;
  /** Ends the run between two sources; finished shards stay. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Told before the first source is packed. */
  readonly onPlan?: (plan: PackPlan) => void;
  /** Told of what is out of the ordinary, once each. */
  readonly onNotice?: (notice: string) => void;
}

/** What the command takes where nothing is said. Reasons: preprocess/README.md. */
export const PACK_DEFAULTS = {
  pixels: { kernel: 'lanczos3', quality: 90, chroma: '4:2:0', orientation: 'ignore' },
  timeoutMs: 60_000,
  onError: 'fail',
  maxRejects: 0.001,
  seed: 0,
  shardSamples: 1024,
  resume: false,
} as const satisfies Partial<PackOptions>;

/**
 * Packs `source` into `out`; `manifest.json` appears last.
 * @throws Fault of the scan and the workspace; with `fail` the first reject that is met; `too-many-rejects`,
 * `interrupted`, `nothing-packed`, `write-failed`
 */
export async function pack(options: Omit<PackOptions, 'part'>): Promise<Manifest> {
  return inWorkspace(options, async (workspace) => {
    if (workspace.finished === PART_FILE)
      throw otherKind(options.out, 'a part', 'merge the parts, or give another --out');
    const finished = workspace.finished ? await readManifest(options.out) : null;
    const job = await packGroups(workspace, options, finished && jobOf(finished));
    return finished ?? assemble(workspace, job);
  });
}

/**
 * Packs one of several machines' share of `source` into `out`; `part.json` appears last.
 * @throws Fault as `pack`, and `empty-part`
 */
export async function packPart(options: PackOptions & { readonly part: Part }): Promise<PackedPart> {
  return inWorkspace(options, async (workspace) => {
    if (workspace.finished === MANIFEST_FILE) throw otherKind(options.out, 'a whole dataset', 'give another --out');
    const finished = workspace.finished ? await readPart(options.out) : null;
    const job = await packGroups(workspace, options, finished?.job ?? null);
    if (finished) return finished;
    const groups: GroupRecord[] = [];
    for (const group of groupsOf(job)) groups.push(await workspace.recordOf(group));
    await writeFileDurably(join(workspace.out, PART_FILE), encodePart({ job, groups }));
    return { job, groups };
  });
}

/**
 * What packing would do; nothing is written into `out`.
 * @throws Fault as `pack` does before it begins
 */
export async function dryRun(options: PackOptions): Promise<PackPlan> {
  const { recorded } = await lookAtTarget(options.out, options);
  const catalogue = await mkdtemp(join(tmpdir(), 'preprocess-'));
  const pool = await openShardPool(options.workers);
  try {
    const { job, scanned } = await list(options, catalogue);
    const done = new Set(recorded);
    const left = groupsOf(job).filter((group) => !done.has(groupName(group)));
    return await new GroupRun(options, job, catalogue, pool).plan(scanned.layout, left, options.out);
  } finally {
    await pool.close();
    await rm(catalogue, { recursive: true, force: true });
  }
}

/** Sees to it that every group of the job has its shards in OUT. `finished`: the job of a target that is whole. */
async function packGroups(workspace: Workspace, options: PackOptions, finished: Job | null): Promise<Job> {
  const pool = await openShardPool(options.workers);
  try {
    const { job, scanned } = await list(options, workspace.state);
    if (finished) {
      mustBeSameJob(finished, job, workspace.out);
      options.onNotice?.(`${workspace.out} is finished already`);
      return job;
    }
    const groups = groupsOf(job);
    if (groups.length === 0 && job.part) throw emptyPart(job.part, groupsOf(wholeOf(job)).length);
    const lost = await workspace.begin(job);
    if (lost > 0) options.onNotice?.(`${lost} finished shards are missing or shorter than they were: packed again`);
    const run = new GroupRun(options, job, workspace.state, pool);
    const left = groups.filter((group) => !workspace.isDone(group));
    options.onPlan?.(await run.plan(scanned.layout, left, workspace.out));
    await run.pack(left, workspace);
    return job;
  } finally {
    await pool.close();
  }
}

/** Lists the sources in a catalogue and says what is to be packed. */
async function list(options: PackOptions, catalogue: string): Promise<{ job: Job; scanned: ScanResult }> {
  const { source, buckets, pixels, seed, shardSamples, part, onNotice } = options;
  mustLieOutside(options);
  const { scanned, sources } = await listSources(source, catalogue, options.signal);
  const { strays, notices, classes } = scanned;
  for (const notice of notices) onNotice?.(notice);
  if (strays.count > 0)
    onNotice?.(`${strays.count} files outside class folders are ignored (${strays.first.join(', ')})`);
  const fingerprint = await pixelFingerprint(pixels);
  const job = { classes, sources, buckets, seed, shardSamples, fingerprint };
  mustHaveNames(job);
  return { job: part ? { ...job, part } : job, scanned };
}

async function listSources(source: string, catalogue: string, signal: AbortSignal | undefined): Promise<Listed> {
  const file = new URL('./list.worker.js', import.meta.url);
  const pool = await WorkerPool.open<ListTask, ListResult>(file, 1, WORKER_HEAP);
  const tally = new Tally();
  const stop = (): void => tally.stopAfter(-1);
  signal?.addEventListener('abort', stop);
  try {
    const result = await pool.run({ source, catalogue, tally: tally.memory });
    signal?.throwIfAborted();
    if (result.ok) return result;
    throw Fault.from(result.fault);
  } finally {
    signal?.removeEventListener('abort', stop);
    await pool.close();
  }
}

/** Inside a split of the source, a later scan would take what is packed for sources. */
function mustLieOutside({ source, out }: PackOptions): void {
  const [first = ''] = relative(resolve(source), resolve(out)).split(sep);
  if (!['train', 'val', 'validation', 'ILSVRC', 'Data'].includes(first)) return;
  throw new Fault({
    code: 'target-in-source',
    received: `--out ${out} in ${first}/ of --source`,
    expected: 'a folder outside the photos',
    remedy: 'give another --out',
  });
}

function otherKind(out: string, what: string, remedy: string): Fault {
  return new Fault({
    code: 'target-exists',
    received: `${out} holds ${what}`,
    expected: 'what --resume can go on with',
    remedy,
  });
}

/** A shard's name has six digits. */
const MAX_SHARDS = 1_000_000;

function mustHaveNames({ sources, shardSamples }: Job): void {
  const shards = Math.ceil(Math.max(sources.train.count, sources.val.count) / shardSamples);
  if (shards <= MAX_SHARDS) return;
  throw new Fault({
    code: 'too-many-shards',
    received: `--shard-samples ${shardSamples}, which makes ${shards} shards`,
    expected: `at most ${MAX_SHARDS}`,
    remedy: 'give a larger --shard-samples',
    exit: 2,
  });
}

function emptyPart({ index, of }: Part, groups: number): Fault {
  return new Fault({
    code: 'empty-part',
    received: `--part ${index}/${of}, which has none of the ${groups} shards`,
    expected: `at most ${groups} parts`,
    remedy: 'use fewer parts, or a smaller --shard-samples on all machines',
    exit: 2,
  });
}
