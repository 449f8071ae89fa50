// What a run takes up again: the newest checkpoint of OUT, if this run, recipe and machine may go on from it.

import { Fault } from '#shards';
import { firstDifference, type Recipe, type RunMeta, resolvePlan, trainPartOf } from '#stream';
import type { Numerics } from './backend/backend.ts';
import { type Checkpoint, latestCheckpoint, readCheckpoint } from './checkpoint.ts';

/**
 * The newest checkpoint's folder; null where OUT holds none.
 * @throws Fault `out-taken` where it holds one and nobody asked to resume.
 */
export async function folderToResume(out: string, { resume }: { readonly resume: boolean }): Promise<string | null> {
  const folder = await latestCheckpoint(out);
  if (folder && !resume)
    throw new Fault({
      code: 'out-taken',
      received: `--out ${out}, which holds ${folder}`,
      expected: 'a folder without checkpoints, or --resume',
      remedy: 'add --resume to go on, or choose another --out',
    });
  return folder;
}

/** Reads a checkpoint of this very run. Fault `checkpoint-of-another-run` names the first key that differs. */
export async function checkpointOf(folder: string, meta: RunMeta, recipe: Recipe): Promise<Checkpoint> {
  const checkpoint = await readCheckpoint(folder);
  const differing =
    firstDifference(meta.plan, resolvePlan(checkpoint.recipe, checkpoint.dataset), 'plan') ??
    firstDifference(trainPartOf(recipe), trainPartOf(checkpoint.recipe), 'recipe');
  if (differing)
    throw new Fault({
      code: 'checkpoint-of-another-run',
      received: `${differing.key} = ${differing.ours}`,
      expected: `${differing.theirs}, which ${folder} was trained with`,
      remedy: 'resume with the same run and the same --set, or choose another --out',
    });
  return checkpoint;
}

/** Null where the numbers go on to the bit, or a line that says what differs where that is allowed; else a Fault. */
export function otherNumerics(
  ours: Numerics,
  theirs: Numerics,
  { allowOtherNumerics }: { readonly allowOtherNumerics: boolean },
): string | null {
  // Another backend has another of almost everything.
  const { backend } = ours;
  const differing =
    firstDifference({ backend }, { backend: theirs.backend }, 'numerics') ?? firstDifference(ours, theirs, 'numerics');
  if (!differing) return null;
  if (!allowOtherNumerics)
    throw new Fault({
      code: 'other-numerics',
      received: `${differing.key} = ${differing.ours}`,
      expected: `${differing.theirs}, as in the checkpoint: else the curve is not the same to the bit`,
      remedy: 'resume with the same backend, threads and version of Node.js, or add --allow-other-numerics',
    });
  return `resuming under other numerics: ${differing.key} was ${differing.theirs}`;
}
