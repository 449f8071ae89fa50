// The target while it is packed. Finished shards lie in OUT under their own names; everything else about the run lies
// in OUT/.packing until the manifest is there:
//
//   OUT/.packing/lock                who packs
//   OUT/.packing/SPLIT.sources …     the list of sources
//   OUT/.packing/job.json            what is packed
//   OUT/.packing/groups/NAME.json    a record of each finished group
//
// OUT may be a mount point, so nothing beside it is touched.

import { mkdir, readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Fault, type Lock, lockFolder, MANIFEST_FILE, syncFolder, writeFileDurably } from '#shards';
import { decodeGroup, encodeGroup, type GroupRecord, groupName } from './group.ts';
import { type Group, groupsOf, type Job, mustBeSameJob } from './job.ts';
import { PART_FILE } from './part.ts';
import { seal, unseal } from './sealed.ts';
import { asWriteFault } from './write-fault.ts';

export const STATE_FOLDER = '.packing';

export class Workspace {
  readonly out: string;
  /** OUT/.packing */
  readonly state: string;
  /** OUT was whole already: it holds a manifest or a part. */
  readonly finished: boolean;
  readonly #lock: Lock;
  readonly #begunBefore: boolean;
  /** The first folder that was made for OUT; what was there before is left when nothing is kept. */
  readonly #made: string | undefined;
  readonly #done = new Set<string>();
  #job: Job | null = null;

  private constructor(out: string, lock: Lock, how: { made: string | undefined; begun: boolean; finished: boolean }) {
    this.out = out;
    this.state = join(out, STATE_FOLDER);
    this.#lock = lock;
    this.#made = how.made;
    this.#begunBefore = how.begun;
    this.finished = how.finished;
  }

  /**
   * Takes OUT: a new or empty folder or, with `resume`, also one where a run was ended.
   * @throws Fault `target-exists`, `unfinished`, `out-locked`
   */
  static async open(target: string, { resume }: { readonly resume: boolean }): Promise<Workspace> {
    const out = resolve(target);
    const there = await contents(out);
    const begun = there.includes(STATE_FOLDER);
    const finished = there.includes(MANIFEST_FILE) || there.includes(PART_FILE);
    if (finished ? !resume : !begun && there.length > 0)
      throw targetExists(`${out} holds ${there.length} files or folders`);
    const made = await mkdir(out, { recursive: true });
    const lock = await lockFolder(join(out, STATE_FOLDER));
    if (begun && !resume) {
      const groups = await readdir(join(out, STATE_FOLDER, 'groups')).catch(() => []);
      await lock.release();
      throw new Fault({
        code: 'unfinished',
        received: `${out}, where a run was ended after ${groups.length} finished shards of each bucket`,
        expected: 'a new or empty folder as --out',
        remedy: '--resume goes on with it; or remove that folder, or give another --out',
      });
    }
    return new Workspace(out, lock, { made, begun, finished });
  }

  /**
   * Says what is packed. Where a run was ended, it must be the same; whatever it left unfinished is removed.
   * @throws Fault `job-differs`, `state-damaged`
   */
  async begin(job: Job): Promise<void> {
    const path = join(this.state, 'job.json');
    const text = await readFile(path, 'utf8').catch(absent);
    if (text === null) await writeFileDurably(path, seal(job));
    else mustBeSameJob(jobIn(text, path), job, path);
    this.#job = job;
    await mkdir(join(this.state, 'groups'), { recursive: true });
    const left = await readdir(join(this.state, 'groups'));
    for (const group of groupsOf(job)) if (left.includes(`${groupName(group)}.json`)) this.#done.add(groupName(group));
    for (const { resolution } of job.buckets) {
      const folder = join(this.out, String(resolution));
      await mkdir(folder, { recursive: true });
      for (const file of await readdir(folder))
        if (!this.#done.has(file.slice(0, file.indexOf('.')))) await rm(join(folder, file), { force: true });
    }
    await syncFolder(this.out);
  }

  isDone(group: Group): boolean {
    return this.#done.has(groupName(group));
  }

  /** Notes that a group's shards are in OUT, after making their names durable. */
  async record(group: GroupRecord): Promise<void> {
    for (const { resolution } of group.buckets) await syncFolder(join(this.out, String(resolution)));
    await writeFileDurably(this.#recordPath(group), encodeGroup(group));
    await syncFolder(join(this.state, 'groups'));
    this.#done.add(groupName(group));
  }

  /** @throws Fault `state-damaged` */
  async recordOf(group: Group): Promise<GroupRecord> {
    const path = this.#recordPath(group);
    return decodeGroup(await readFile(path, 'utf8'), path);
  }

  /** Everything is in OUT: the state goes. */
  async finish(): Promise<void> {
    await syncFolder(this.out);
    await rm(this.state, { recursive: true, force: true });
    await syncFolder(this.out);
  }

  /** Gives OUT up: finished shards and their records stay for `--resume`, else nothing stays. */
  async leave(): Promise<void> {
    if (this.finished) return this.finish();
    // Without a job it is not known what a run before this one has left.
    if (this.#job ? await this.#isWorthKeeping(this.#job) : this.#begunBefore) return this.#lock.release();
    for (const { resolution } of this.#job?.buckets ?? [])
      await rm(join(this.out, String(resolution)), { recursive: true, force: true });
    await rm(this.state, { recursive: true, force: true });
    if (this.#made !== undefined) await removeEmpty(this.out, this.#made);
  }

  /**
   * Whether the first group is done and there is a sample. Groups before a failure go on to their end and those behind it
   * may have been faster, so that by the first one a failure leaves the same whatever the workers.
   */
  async #isWorthKeeping(job: Job): Promise<boolean> {
    const done = groupsOf(job).filter((group, i) => i === 0 || this.isDone(group));
    if (!done[0] || !this.isDone(done[0])) return false;
    for (const group of done) if ((await this.recordOf(group)).samples > 0) return true;
    return false;
  }

  #recordPath(group: Group): string {
    return join(this.state, 'groups', `${groupName(group)}.json`);
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

async function contents(out: string): Promise<string[]> {
  return readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    if (error.code === 'ENOTDIR') throw targetExists(`${out} is a file or lies below one`);
    throw error;
  });
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
  throw new Fault({
    code: 'state-damaged',
    received: `${path}, whose content does not fit its own sha256`,
    expected: 'what preprocess wrote',
    remedy: 'remove the whole folder and pack again',
  });
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
