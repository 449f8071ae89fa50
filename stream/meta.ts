// RUN.meta: record 0 says which plan a run follows. The first record wins; everyone reads it and refuses a mismatch.
//
//   record 0 := canonical JSON {format, planHash, trainHash, plan, recipe, dataset {sha256, classes, counts}, fingerprint}

import { z } from 'zod';
import { canonicalJson, Fault, type Manifest } from '#shards';
import { type DatasetIdentity, firstDifference, type Plan, planHashOf, resolvePlan, trainHashOf } from './plan.ts';
import { parseRecipe, type Recipe } from './recipe.ts';
import { metaSpec, topicsOf } from './topics.ts';
import { transportArgument } from './transport/index.ts';
import type { TopicSpec, Transport } from './transport/transport.ts';

export const META_FORMAT = 'medium-recipe/meta@1';

export interface RunMeta {
  readonly format: typeof META_FORMAT;
  readonly planHash: string;
  readonly trainHash: string;
  readonly plan: Plan;
  readonly recipe: Recipe;
  readonly dataset: DatasetIdentity & Pick<Manifest['dataset'], 'classes'>;
  readonly fingerprint: string;
}

/** Plan and recipe are checked by the hashes and by `parseRecipe`. */
const shape = z.strictObject({
  format: z.string(),
  planHash: z.string(),
  trainHash: z.string(),
  plan: z.looseObject({}),
  recipe: z.looseObject({}),
  dataset: z.strictObject({
    sha256: z.string(),
    counts: z.strictObject({ train: z.int(), val: z.int() }),
    classes: z.array(z.unknown()),
  }),
  fingerprint: z.string(),
});

export function encodeMeta(meta: RunMeta): Buffer {
  return Buffer.from(canonicalJson(meta));
}

function decodeMeta(value: Buffer, run: string): RunMeta {
  const meta = parsed(value, run);
  if (meta.format !== META_FORMAT || planHashOf(meta.plan) !== meta.planHash)
    throw metaFormat(`run '${run}' of format '${meta.format}'`);
  const recipe = parseRecipe(meta.recipe, `run '${run}'`);
  const { sha256, counts } = meta.dataset;
  const other = firstDifference(resolvePlan(recipe, { sha256, counts }), meta.plan, 'plan');
  if (other)
    throw metaFormat(`run '${run}' with ${other.key} ${other.theirs}, which recipe and dataset make ${other.ours}`);
  if (trainHashOf(recipe) !== meta.trainHash) throw metaFormat(`run '${run}' of trainHash '${meta.trainHash}'`);
  return { ...meta, recipe };
}

function parsed(value: Buffer, run: string): RunMeta {
  const text = value.toString('utf8');
  try {
    const meta: unknown = JSON.parse(text);
    if (canonicalJson(meta) === text && shape.safeParse(meta).success) return meta as RunMeta;
  } catch {
    // Told below.
  }
  throw metaFormat(`run '${run}' with ${text.length} bytes that are no canonical JSON of a run`);
}

function metaFormat(received: string): Fault {
  return new Fault({
    code: 'meta-format',
    received,
    expected: `${META_FORMAT} with hashes and a plan that fit its recipe and dataset`,
    remedy: 'use the version of this project that made the run, or another run name; the same if the log is damaged',
  });
}

/** Record 0, or null where nobody has begun the run. */
export async function readMeta(transport: Transport, run: string): Promise<RunMeta | null> {
  const { meta } = topicsOf(run);
  if ((await transport.partitions(meta)) === null) return null;
  const [extent] = await transport.ends(meta);
  if (!extent || extent.end === 0) return null;
  const reader = await transport.read({ topic: meta, from: new Map([[0, 0]]), maxBytes: 1_000_000 });
  try {
    const record = await reader.next(0);
    return record && decodeMeta(record.value, run);
  } finally {
    await reader.close();
  }
}

/**
 * Joins a run, or begins it with `ours`: its topics first, so that whoever reads record 0 finds them.
 * Fault `run-taken` where it follows another plan or comes from other code.
 */
export async function joinRun(
  transport: Transport,
  run: string,
  ours: RunMeta,
  topics: readonly TopicSpec[],
): Promise<RunMeta> {
  await transport.createTopics([metaSpec(run)]);
  let theirs = await readMeta(transport, run);
  if (!theirs) {
    await transport.createTopics(topics);
    await transport.append(topicsOf(run).meta, 0, encodeMeta(ours));
    theirs = await readMeta(transport, run);
  }
  if (!theirs) throw new Error(`${run}.meta is empty after an acknowledged append`);
  const differing =
    firstDifference(ours.plan, theirs.plan, 'plan') ??
    firstDifference(ours.fingerprint, theirs.fingerprint, 'fingerprint');
  if (differing)
    throw new Fault({
      code: 'run-taken',
      received: `${differing.key} = ${differing.ours}`,
      expected: `${differing.theirs}, which run '${run}' was begun with`,
      remedy: 'choose another --run, or go on with the recipe, shards and version that it was begun with',
    });
  // Of an older begin: the backstop may have to rise with the window.
  await transport.createTopics(topics);
  return theirs;
}

/** Waits for a run to begin, telling `onWait` once; Fault `run-missing` after `waitMs`. */
export async function awaitRun(
  transport: Transport,
  run: string,
  waitMs: number,
  onWait: (message: string) => void,
): Promise<RunMeta> {
  const until = performance.now() + waitMs;
  for (let told = false; ; told = true) {
    const meta = await readMeta(transport, run);
    if (meta) return meta;
    if (performance.now() >= until)
      throw new Fault({
        code: 'run-missing',
        received: `no run '${run}' at ${transport.url} after ${Math.round(waitMs / 1000)} s`,
        expected: 'a run that a producer has begun',
        remedy: `start 'stream produce --run ${run} ${transportArgument(transport)} …'${waitMs > 0 ? ', or wait longer with --wait SECONDS' : ''}`,
      });
    if (!told) onWait(`waiting for run '${run}' at ${transport.url}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
