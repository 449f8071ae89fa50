// `trainer consume --init DIR`: a run that starts at step 0 from weights that are there, with a fresh optimizer.
//
//   OUT/init.json := {folder, head, sha256}     which weights OUT began with; written before the first step

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson, encodeTensors, Fault, writeFileDurably } from '#shards';
import { firstDifference } from '#stream';
import { sha256 as digestOf } from './checksums.ts';
import { stateDict } from './export.ts';
import { initialValues, sizeOf } from './model/initial.ts';
import type { Model } from './model/model.ts';
import type { HostState } from './state.ts';
import { architectureOf, readWeights } from './weights.ts';

/** `new`: fc starts from the seed, as for other classes than the weights were trained on. */
type Head = 'kept' | 'new';

interface InitOptions {
  /** What `trainer evaluate --checkpoint` takes. */
  readonly init?: string | undefined;
  readonly newHead?: boolean | undefined;
  /** The trainer's OUT. */
  readonly out: string;
  /** Whether it goes on from a checkpoint in OUT. */
  readonly resumes: boolean;
  /** Whether the state has an average, which starts as a copy. */
  readonly average?: boolean;
}

interface Init {
  readonly folder: string;
  readonly head: Head;
  /** Of all weights and statistics, before fc is replaced. */
  readonly sha256: string;
}

const FILE = 'init.json';

/**
 * The state at step 0; of a checkpoint its average where it has one. Null where the run starts from the seed, or goes on
 * from a checkpoint of its own, which must then have begun with the same weights.
 * @throws Fault `init-other-model` names the first key that differs, `init-other-classes`, `init-missing`, `init-differs`,
 * and of `readWeights`
 */
export async function initialState(
  { init: from, newHead = false, out, resumes, average = false }: InitOptions,
  model: Model,
  seed: number,
): Promise<HostState | null> {
  if (from === undefined) {
    if (newHead) throw headAlone();
    if (!resumes) await checkNotBegun(out);
    return null;
  }
  const loaded = await readWeights(from);
  const differing = firstDifference(architectureOf(model.recipe), architectureOf(loaded.model.recipe), 'model');
  if (differing)
    throw new Fault({
      code: 'init-other-model',
      received: `${differing.key} = ${differing.ours} in the recipe`,
      expected: `${differing.theirs}, as in ${loaded.folder}`,
      remedy: `--set ${differing.key}=${differing.theirs}, or other weights`,
    });
  if (!newHead && loaded.model.classes !== model.classes)
    throw new Fault({
      code: 'init-other-classes',
      received: `weights of ${loaded.model.classes} classes in ${loaded.folder}`,
      expected: `${model.classes}, as in the dataset`,
      remedy: 'add --new-head to start fc from the seed',
    });
  const { folder, values } = loaded;
  const sha256 = digestOf(encodeTensors(stateDict(loaded.model, values, () => 0)));
  const init = { folder, head: newHead ? 'new' : 'kept', sha256 } as const;
  if (resumes) {
    await checkBegunWith(out, init);
    return null;
  }
  const weights = { ...values.weights };
  for (const parameter of model.parameters)
    if (newHead && parameter.kind.startsWith('fc')) weights[parameter.name] = initialValues(parameter, seed);
  const slots = Object.fromEntries(model.parameters.map(({ name, shape }) => [name, new Float32Array(sizeOf(shape))]));
  // Before a first checkpoint could be mistaken for one of a run from the seed.
  await writeFileDurably(join(out, FILE), `${canonicalJson(init)}\n`);
  const start = { weights, statistics: values.statistics };
  return { step: 0, ...start, slots, average: average ? start : null };
}

/** What OUT began with; null where that was the seed, or nothing yet. */
async function begunWith(out: string): Promise<Init | null> {
  try {
    return JSON.parse(await readFile(join(out, FILE), 'utf8')) as Init;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** A run that was killed before its first checkpoint does not begin anew from the seed unseen. */
async function checkNotBegun(out: string): Promise<void> {
  const begun = await begunWith(out);
  if (!begun) return;
  throw new Fault({
    code: 'init-missing',
    received: `no --init, and ${out}, which has no checkpoint yet, was begun with --init ${begun.folder}`,
    expected: 'the same start',
    remedy: `add --init ${begun.folder}, or choose another --out`,
    exit: 2,
  });
}

async function checkBegunWith(out: string, init: Init): Promise<void> {
  const begun = await begunWith(out);
  if (begun?.sha256 === init.sha256 && begun.head === init.head) return;
  const told = begun ? `those of ${begun.folder}, head ${begun.head}` : 'the seed';
  throw new Fault({
    code: 'init-differs',
    received: `--init ${init.folder}, head ${init.head}`,
    expected: `${told}, as ${out} was begun with`,
    remedy: 'leave --init out to go on, or choose another --out',
    exit: 2,
  });
}

function headAlone(): Fault {
  return new Fault({
    code: 'usage',
    received: '--new-head without --init',
    expected: 'weights whose fc is to be replaced',
    remedy: 'add --init DIR',
    exit: 2,
  });
}
