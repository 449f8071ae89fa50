// The target while it is packed. Finished shards lie in OUT under their own names; everything else about the run lies
// in OUT/.packing until the manifest is there:
//
//   OUT/.packing/lock                who packs
//   OUT/.packing/SPLIT.sources …     the list of sources
//   OUT/.packing/job.json            what is packed
//   OUT/.packing/groups/NAME.json    a record of each finished group
//
// OUT may be a mount point, so nothing beside it is touched.

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Fault, type Lock, lockFolder, MANIFEST_FILE, syncFolder, writeFileDurably } from '#shards';
import { decodeGroup, encodeGroup, type GroupRecord, groupName } from './group.ts';
import { type Group, groupsOf, type Job, mustBeSameJob } from './job.ts';
import { PART_FILE } from './part.ts';
import { seal, unseal } from './sealed.ts';
import { asWriteFault } from './write-fault.ts';

export const STATE_FOLDER = '.packing';

const GROUPS = 'groups';
/** What a file system makes for itself. */
const NOT_OURS = ['lost+found'];

/** What is in a target. */
export interface TargetState {
  /** By the file that says it is whole. */
  readonly finished: typeof MANIFEST_FILE | typeof PART_FILE | null;
  /** A run was begun there and not finished. */
  readonly begun: boolean;
  /** Names of the groups that have a record. */
  readonly recorded: readonly string[];
}

/**
 * Looks whether a run may go on `out`, without changing anything.
 * @throws Fault `target-exists`, `unfinished`
 */
export async function lookAtTarget(target: string, { resume }: { readonly resume: boolean }): Promise<TargetState> {
  const out = resolve(target);
  const there = await contents(out);
  const state = there.includes(STATE_FOLDER) ? await contents(join(out, STATE_FOLDER)) : [];
  const begun = state.some((name) => !name.startsWith('lock'));
  const finished = ([MANIFEST_FILE, PART_FILE] as const).find((name) => there.includes(name)) ?? null;
  const others = there.filter((name) => name !== STATE_FOLDER);
  if (finished ? !resume : !begun && others.length > 0)
    throw targetExists(`${out} holds ${others.length} files or folders`);
  const records = begun ? await contents(join(out, STATE_FOLDER, GROUPS)) : [];
  const recorded = records.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length));
  if (begun && !resume)
    throw new Fault({
      code: 'unfinished',
      received: `${out}, where a run was ended after ${recorded.length} finished shards of each bucket`,
      expected: 'a new or empty folder as --out',
      remedy: '--resume goes on with it; or remove that folder, or give another --out',
    });
  return { finished, begun, recorded };
}

export class Workspace {
  readonly out: string;
  /** OUT/.packing */
  readonly state: string;
  /** OUT was whole already. */
  readonly finished: TargetState['finished'];
  readonly #lock: Lock;
  readonly #before: TargetState;
  /** The first folder that was made for OUT; what was there before is left when nothing is kept. */
  readonly #made: string | undefined;
  readonly #done = new Set<string>();
  #job: Job | null = null;
  /** Of the groups that this run has recorded. */
  #samples = 0;

  private constructor(out: string, lock: Lock, how: { made: string | undefined; before: TargetState }) {
    this.out = out;
    this.state = join(out, STATE_FOLDER);
    this.#lock = lock;
    this.#made = how.made;
    this.#before = how.before;
    this.finished = how.before.finished;
  }

  /**
   * Takes OUT: a new or empty folder or, with `resume`, also one where a run was ended.
   * @throws Fault `target-exists`, `unfinished`, `out-locked`
   */
  static async open(target: string, how: { readonly resume: boolean }): Promise<Workspace> {
    const out = resolve(target);
    // Nothing is made in a folder that is none of ours; whoever waits for the lock of another run hears that first.
    if (!(await contents(out)).includes(STATE_FOLDER)) await lookAtTarget(out, how);
    const made = await mkdir(out, { recursive: true });
    const lock = await lockFolder(join(out, STATE_FOLDER));
    try {
      // Only now: a run may have ended in between.
      return new Workspace(out, lock, { made, before: await lookAtTarget(out, how) });
    } catch (error) {
      await lock.release();
      // Not empty where a run has left its state.
      await rmdir(join(out, STATE_FOLDER)).catch(() => {});
      throw error;
    }
  }

  /**
   * Says what is packed. Where a run was ended it must be the same; groups of it whose files are not all there are packed
   * again, and whatever it left unfinished is removed. Returns how many groups are not what their record says.
   * @throws Fault `job-differs`, `state-damaged`
   */
  async begin(job: Job): Promise<number> {
    const path = join(this.state, 'job.json');
    const text = await readFile(path, 'utf8').catch(absent);
    if (text !== null) mustBeSameJob(jobIn(text, path), job, path);
    else if (this.#before.recorded.length > 0) throw stateDamaged(`${path} is missing, and groups have records`);
    else await writeFileDurably(path, seal(job));
    await mkdir(join(this.state, GROUPS), { recursive: true });
    await syncFolder(this.state);
    const recorded = new Set(this.#before.recorded);
    let lost = 0;
    for (const group of groupsOf(job)) {
      if (!recorded.has(groupName(group))) continue;
      if (await this.#isWhole(group)) this.#done.add(groupName(group));
      else {
        lost++;
        await rm(this.#recordPath(group), { force: true });
      }
    }
    for (const { resolution } of job.buckets) {
      const folder = join(this.out, String(resolution));
      await mkdir(folder, { recursive: true });
      for (const file of await readdir(folder))
        if (!this.#done.has(file.slice(0, file.indexOf('.')))) await rm(join(folder, file), { force: true });
    }
    await syncFolder(this.out);
    this.#job = job;
    return lost;
  }

  isDone(group: Group): boolean {
    return this.#done.has(groupName(group));
  }

  /** Notes that a group's shards are in OUT, after making their names durable. */
  async record(group: GroupRecord): Promise<void> {
    for (const { resolution } of group.buckets) await syncFolder(join(this.out, String(resolution)));
    await writeFileDurably(this.#recordPath(group), encodeGroup(group));
    await syncFolder(join(this.state, GROUPS));
    this.#done.add(groupName(group));
    this.#samples += group.samples;
  }

  /** @throws Fault `state-damaged` */
  async recordOf(group: Group): Promise<GroupRecord> {
    const path = this.#recordPath(group);
    return decodeGroup(await readFile(path, 'utf8'), path);
  }

  /** Everything is in OUT: the state goes, the lock last. */
  async finish(): Promise<void> {
    await syncFolder(this.out);
    await this.#removeState();
    await syncFolder(this.out);
  }

  /** Gives OUT up: finished shards and their records stay for `--resume`, else nothing stays. */
  async leave(): Promise<void> {
    if (this.finished) return this.finish();
    if (this.#isWorthKeeping()) return this.#lock.release();
    // Records first: without its shards a record would be a lie.
    await rm(join(this.state, GROUPS), { recursive: true, force: true });
    await syncFolder(this.state);
    for (const { resolution } of this.#job?.buckets ?? [])
      await rm(join(this.out, String(resolution)), { recursive: true, force: true });
    await this.#removeState();
    if (this.#made !== undefined) await removeEmpty(this.out, this.#made);
  }

  /**
   * What an earlier run has finished always is. Of this one, if its first group is done and there is a sample: groups
   * before a failure go on to their end and those behind it may have been faster, so that by the first one a failure
   * leaves the same whatever the workers.
   */
  #isWorthKeeping(): boolean {
    if (this.#before.recorded.length > 0) return true;
    // Nothing of a run that was begun before may be touched until it is known to be this one.
    if (!this.#job) return this.#before.begun;
    const [first] = groupsOf(this.#job);
    return first !== undefined && this.isDone(first) && this.#samples > 0;
  }

  /** Whether a group's record can be read and its tars have their length, its indexes their content. */
  async #isWhole(group: Group): Promise<boolean> {
    try {
      const { buckets } = await this.recordOf(group);
      for (const { shard } of buckets) {
        const path = join(this.out, shard.file.replace(/\.tar$/, ''));
        if ((await stat(`${path}.tar`)).size !== shard.bytes) return false;
        if (sha256Of(await readFile(`${path}.idx`)) !== shard.idxSha256) return false;
        if (sha256Of(await readFile(`${path}.index.safetensors`)) !== shard.indexSha256) return false;
      }
      return true;
    } catch (error) {
      if (error instanceof Fault || (error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
  }

  async #removeState(): Promise<void> {
    for (const name of await readdir(this.state))
      if (name !== 'lock') await rm(join(this.state, name), { recursive: true, force: true });
    await this.#lock.release();
    // Not empty where another run has taken the lock by now.
    await rmdir(this.state).catch(() => {});
  }

  #recordPath(group: Group): string {
    return join(this.state, GROUPS, `${groupName(group)}.json`);
  }
}

/** Runs `body` on OUT, then takes the state away; after a failure it is left as `leave` says. */
export async function inWorkspace<T>(
  { out, resume }: { readonly out: string; readonly resume: boolean },
  body: (workspace: Workspace) => Promise<T>,
): Promise<T> {
  let workspace: Workspace | null = null;
  try {
    workspace = await Workspace.open(out, { resume });
    const result = await body(workspace);
    await workspace.finish();
    return result;
  } catch (error) {
    await workspace?.leave();
    throw asWriteFault(error, out);
  }
}

async function contents(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    if (error.code === 'ENOTDIR') throw targetExists(`${folder} is a file or lies below one`);
    throw error;
  });
  return names.filter((name) => !NOT_OURS.includes(name));
}

function targetExists(received: string): Fault {
  return new Fault({
    code: 'target-exists',
    received,
    expected: 'a new or empty folder as --out',
    remedy: 'give another --out, or remove that one',
  });
}

function jobIn(text: string, path: string): Job {
  const job = unseal(text);
  if (job) return job as unknown as Job;
  throw stateDamaged(`${path}, whose content does not fit its own sha256`);
}

function stateDamaged(received: string): Fault {
  return new Fault({
    code: 'state-damaged',
    received,
    expected: 'what preprocess wrote',
    remedy: 'remove the whole folder and pack again',
  });
}

function sha256Of(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function absent(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
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
