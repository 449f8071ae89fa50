// Which checkpoints of OUT stay: the newest few, to resume from, and the one that scored best. OUT/best.json names that.
//
// best.json is made from what the checkpoints' own state.json say, again at every start: a kill between any two of
// write, rename, mark and removal leaves nothing that the next start does not put right.

import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { canonicalJson, killPoint, syncFolder, writeFileDurably } from '#shards';
import {
  ASIDE,
  type Checkpoint,
  checkpointsIn,
  readScore,
  removeCheckpoint,
  type Score,
  writeCheckpoint,
} from './checkpoint.ts';

/** How many of the newest checkpoints stay unless `--keep` says otherwise. */
export const KEEP = 3;
const BEST = 'best.json';

interface Kept {
  readonly folder: string;
  readonly score: Score | null;
}

/** The higher top-1; of equal ones the lower loss; of these the earlier. */
export function better(a: Score, b: Score): Score {
  if (a.top1 !== b.top1) return a.top1 > b.top1 ? a : b;
  if (a.loss !== b.loss) return a.loss < b.loss ? a : b;
  return a.epoch <= b.epoch ? a : b;
}

export class KeptCheckpoints {
  readonly #out: string;
  readonly #keep: number;
  /** Oldest first. */
  #kept: readonly Kept[];

  private constructor(out: string, keep: number, kept: readonly Kept[]) {
    this.#out = out;
    this.#keep = keep;
    this.#kept = kept;
  }

  /**
   * Takes OUT up as it was left: removes what was half written or half removed, and what is not to stay.
   * @throws Fault `checkpoint-damaged`, `checkpoint-missing`, `checkpoint-format` for what any of them says of itself
   */
  static async open(out: string, keep = KEEP): Promise<KeptCheckpoints> {
    for (const name of await readdir(out))
      if (/^(checkpoint-|best\.json)/.test(name) && name.endsWith(ASIDE))
        await rm(join(out, name), { recursive: true, force: true });
    const folders = await checkpointsIn(out);
    const kept = await Promise.all(folders.map(async (folder) => ({ folder, score: await readScore(folder) })));
    const checkpoints = new KeptCheckpoints(out, keep, kept);
    await checkpoints.#settle();
    return checkpoints;
  }

  /** Writes OUT/checkpoint-STEP, marks the best and removes what is not to stay. Returns the folder. */
  async add(checkpoint: Checkpoint): Promise<string> {
    const { score = null, state } = checkpoint;
    const folder = await writeCheckpoint(this.#out, checkpoint);
    this.#kept = [...this.#kept.filter((other) => other.folder !== folder), { folder, score }];
    await this.#settle(state.step);
    return folder;
  }

  /** `step`: of the checkpoint that was just written. */
  async #settle(step?: number): Promise<void> {
    const best = this.#best();
    // First, so that it never names what is gone.
    await this.#mark(best);
    if (step !== undefined) killPoint('best-marked', step);
    const newest = this.#kept.slice(-this.#keep);
    const doomed = this.#kept.filter((kept) => kept !== best && !newest.includes(kept));
    for (const { folder } of doomed) await removeCheckpoint(folder);
    this.#kept = this.#kept.filter((kept) => !doomed.includes(kept));
    if (step !== undefined) killPoint('checkpoints-pruned', step);
  }

  #best(): Kept | null {
    return this.#kept.reduce<Kept | null>((best, kept) => {
      if (!kept.score || !best?.score) return kept.score ? kept : best;
      return better(best.score, kept.score) === best.score ? best : kept;
    }, null);
  }

  async #mark(best: Kept | null): Promise<void> {
    const path = join(this.#out, BEST);
    if (!best) return rm(path, { force: true });
    const text = `${canonicalJson({ checkpoint: basename(best.folder), ...best.score })}\n`;
    if ((await readFile(path, 'utf8').catch(() => '')) === text) return;
    await writeFileDurably(path, text);
    await syncFolder(this.#out);
  }
}
