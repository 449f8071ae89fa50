// The plan: a recipe resolved against a packed dataset, so that every step is decided before the first one.

import { createHash } from 'node:crypto';
import { canonicalJson, Fault } from '#shards';
import type { Recipe } from './recipe.ts';

/** What the plan must know of a packed dataset. */
export interface DatasetIdentity {
  readonly sha256: string;
  readonly counts: { readonly train: number; readonly val: number };
}

export interface Phase {
  readonly index: number;
  readonly resolution: number;
  /** Images a step, global. */
  readonly batch: number;
  readonly epochs: number;
  readonly firstEpoch: number;
  readonly firstStep: number;
  readonly stepsPerEpoch: number;
  /** Samples of each epoch's incomplete last step, left out. */
  readonly dropped: number;
  readonly crop: 'random-resized' | 'centre';
  /** MixUp's alpha; 0 is off. */
  readonly mixup: number;
}

/** Everything that the stream's bytes depend on; its hash is the planHash. */
export interface Plan {
  readonly format: 'medium-recipe/plan@1';
  readonly record: 'medium-recipe/record@1';
  readonly dataset: DatasetIdentity;
  readonly seed: number;
  readonly lanes: number;
  readonly orderWindow: number;
  readonly augmentation: Recipe['augmentation'];
  readonly damaged: Recipe['damaged'];
  readonly evaluation: Recipe['evaluation'];
  readonly phases: readonly Phase[];
  readonly steps: number;
}

/** Where a step lies. */
export interface StepPlace {
  readonly phase: Phase;
  readonly epoch: number;
  /** Counted from the epoch's first step. */
  readonly stepInEpoch: number;
}

export function resolvePlan(recipe: Recipe, dataset: DatasetIdentity): Plan {
  let firstEpoch = 0;
  let firstStep = 0;
  const phases = recipe.phases.map(({ resolution, batch, epochs, fixres }, index): Phase => {
    const stepsPerEpoch = Math.floor(dataset.counts.train / batch);
    if (stepsPerEpoch === 0)
      throw new Fault({
        code: 'batch-exceeds-dataset',
        received: `phase ${index} with a batch of ${batch} and ${dataset.counts.train} training samples`,
        expected: 'at least one full batch an epoch',
        remedy: 'lower the batch in the recipe, or pack more photos',
      });
    const mixup = recipe.mixup && !fixres ? recipe.mixup.alpha : 0;
    const smallest = Math.min(...chunkSizes(batch / recipe.lanes, resolution));
    if (mixup > 0 && smallest < 2)
      throw new Fault({
        code: 'mixup-needs-pairs',
        received: `phase ${index}: a chunk of one image (batch ${batch}, ${recipe.lanes} lanes, ${resolution} px)`,
        expected: 'at least 2 images a chunk, as a partner comes from the same chunk',
        remedy: 'use fewer lanes, a larger batch, or mixup: false',
      });
    const phase: Phase = {
      index,
      resolution,
      batch,
      epochs,
      firstEpoch,
      firstStep,
      stepsPerEpoch,
      dropped: dataset.counts.train - stepsPerEpoch * batch,
      crop: fixres ? 'centre' : 'random-resized',
      mixup,
    };
    firstEpoch += epochs;
    firstStep += epochs * stepsPerEpoch;
    return phase;
  });
  return {
    format: 'medium-recipe/plan@1',
    record: 'medium-recipe/record@1',
    dataset: { sha256: dataset.sha256, counts: { train: dataset.counts.train, val: dataset.counts.val } },
    seed: recipe.seed,
    lanes: recipe.lanes,
    orderWindow: recipe.orderWindow,
    augmentation: recipe.augmentation,
    damaged: recipe.damaged,
    evaluation: recipe.evaluation,
    phases,
    steps: firstStep,
  };
}

/** The phase, epoch and place in the epoch of a step in [0, plan.steps). */
export function placeOf(plan: Plan, step: number): StepPlace {
  const phase = plan.phases.findLast(({ firstStep }) => firstStep <= step);
  if (!phase || step < 0 || step >= plan.steps) throw new RangeError(`step ${step} of ${plan.steps}`);
  const stepInPhase = step - phase.firstStep;
  return {
    phase,
    epoch: phase.firstEpoch + Math.floor(stepInPhase / phase.stepsPerEpoch),
    stepInEpoch: stepInPhase % phase.stepsPerEpoch,
  };
}

/** Resolutions in the order in which the phases first use them. */
export function resolutionsOf(plan: Plan): number[] {
  return [...new Set(plan.phases.map(({ resolution }) => resolution))];
}

/** Bytes of one image's pixels, U8 RGB. */
export function imageBytes(resolution: number): number {
  return resolution * resolution * 3;
}

/**
 * Checks a bound in bytes on whole steps, as every lane must have room for one.
 * Fault `bound-too-small`; `option` names the bound in it.
 */
export function checkStepBound(plan: Plan, bytes: number, option: string): void {
  const largest = Math.max(...plan.phases.map(({ batch, resolution }) => batch * imageBytes(resolution)));
  if (bytes >= largest) return;
  throw new Fault({
    code: 'bound-too-small',
    received: `${option} ${bytes}`,
    expected: `at least ${largest} bytes, one step of every lane`,
    remedy: `raise ${option}, or lower the batch in the recipe`,
    exit: 2,
  });
}

/** Most pixel bytes of one record: with its header it stays below Kafka's stock limit of 1,048,588 bytes. */
export const CHUNK_PIXEL_BYTES = 1_000_000;
/** Bound of any record's bytes: pixels (one image at least), labels and header. */
export function maxRecordBytes(resolution: number): number {
  return Math.max(CHUNK_PIXEL_BYTES, imageBytes(resolution)) + 40_000;
}

/** Sizes of the chunks of a slice of n samples: as few as fit the cap, differing by at most one, larger first. */
export function chunkSizes(n: number, resolution: number): number[] {
  if (n === 0) return [];
  const cap = Math.max(1, Math.floor(CHUNK_PIXEL_BYTES / imageBytes(resolution)));
  const chunks = Math.ceil(n / cap);
  return Array.from({ length: chunks }, (_, i) => Math.floor(n / chunks) + (i < n % chunks ? 1 : 0));
}

/** Positions [begin, end) of the val split that lane l of L holds; nothing is dropped. */
export function valRange(plan: Plan, lane: number): { begin: number; end: number } {
  const { val } = plan.dataset.counts;
  return { begin: Math.floor((lane * val) / plan.lanes), end: Math.floor(((lane + 1) * val) / plan.lanes) };
}

function sha256(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}

/** Covers what the stream's bytes depend on: another planHash is another stream. */
export function planHashOf(plan: Plan): string {
  return sha256(plan);
}

/** What the training depends on beyond the plan: the part of a recipe that `--set` may change. */
export function trainPartOf(recipe: Recipe) {
  const { model, groups, optimizer, sam, labelSmoothing, clip, ema } = recipe;
  const fixres = recipe.phases.map((phase) => phase.fixres ?? null);
  const { schedule, ...sgd } = optimizer;
  // Keys that came later are left out at their defaults: runs and checkpoints of before keep their hashes.
  return {
    model,
    groups,
    optimizer: schedule === 'cosine' ? sgd : optimizer,
    sam,
    labelSmoothing,
    fixres,
    ...(clip && { clip }),
    ...(ema && { ema }),
  };
}

export function trainHashOf(recipe: Recipe): string {
  return sha256(trainPartOf(recipe));
}

/** The first key at which two JSON values differ, as a path with both values; null where they are equal. */
export function firstDifference(
  ours: unknown,
  theirs: unknown,
  path = '',
): { key: string; ours: string; theirs: string } | null {
  const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
  if (!isObject(ours) || !isObject(theirs))
    return Object.is(ours, theirs)
      ? null
      : { key: path, ours: JSON.stringify(ours) ?? 'nothing', theirs: JSON.stringify(theirs) ?? 'nothing' };
  const keys = [...new Set([...Object.keys(ours), ...Object.keys(theirs)])].sort();
  for (const key of keys) {
    const found = firstDifference(ours[key], theirs[key], path === '' ? key : `${path}.${key}`);
    if (found) return found;
  }
  return null;
}
