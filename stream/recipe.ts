// What a person writes: phases, augmentation, model, optimizer, as YAML, checked here once; inside, it is trusted.

import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { Fault } from '#shards';

const positiveInt = z.int().positive();
const fraction = z.number().min(0).max(1);
const interval = z.tuple([z.number().positive(), z.number().positive()]).refine(([low, high]) => low <= high, {
  message: 'the first bound must not exceed the second',
});

const phaseSchema = z.strictObject({
  /** Side of the square training images, px; one bucket of the shards and one topic each. */
  resolution: positiveInt,
  epochs: positiveInt,
  /** Images a step, over all groups and trainers. */
  batch: positiveInt,
  /** FixRes (Touvron 2019): centre crop and flip, no MixUp, no SAM; only the last BatchNorm and fc train. */
  fixres: z
    .strictObject({
      /** Learning rate at a batch of `lrPerBatch`; cosine to 0 over the phase. */
      lr: z.number().positive().default(1e-3),
      lrPerBatch: positiveInt.default(512),
    })
    .optional(),
});

const recipeSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'must match [a-z0-9][a-z0-9-]{0,63}'),
  seed: z.int().min(0).max(0xffffffff).default(0),
  /** Parallel slices of the global batch: the partitions of every topic. Divides every phase's batch. */
  lanes: positiveInt,
  /** Samples are shuffled inside windows of so many shuffled shards. */
  orderWindow: positiveInt.default(16),
  augmentation: z
    .strictObject({
      /** RandomResizedCrop: share of the stored image's area, and aspect ratio (log-uniform). */
      scale: interval
        .refine(([, high]) => high <= 1, { message: 'a share of the area is at most 1' })
        .default([0.35, 1]),
      ratio: interval.default([0.75, 1.3333333333333333]),
      /** Probability of a horizontal flip. */
      flip: fraction.default(0.5),
    })
    .prefault({}),
  /** MixUp (Zhang 2018): one λ ~ Beta(alpha, alpha) a step; false turns it off. */
  mixup: z.union([z.strictObject({ alpha: z.number().positive().max(8) }), z.literal(false)]).default({ alpha: 0.2 }),
  /** A damaged training sample: `fail` ends the producer; `replace` puts the one before it in its place, counted and shown. */
  damaged: z.enum(['fail', 'replace']).default('fail'),
  evaluation: z
    .strictObject({
      /** Side of the central square over the stored short side, as in resize 256 → crop 224. */
      cropRatio: z.number().positive().max(1).default(0.875),
    })
    .prefault({}),
  phases: z.array(phaseSchema).min(1),

  model: z
    .strictObject({
      block: z.enum(['bottleneck', 'basic']).default('bottleneck'),
      /** Blocks in each of the four stages. ResNet-50: [3, 4, 6, 3]. */
      layers: z.tuple([positiveInt, positiveInt, positiveInt, positiveInt]).default([3, 4, 6, 3]),
      /** Channels of the stem. ResNet-50: 64. */
      width: positiveInt.default(64),
      /** BlurPool's filter size (Zhang 2019), 2 … 7; false leaves the strides as they are. */
      blurpool: z.union([z.int().min(2).max(7), z.literal(false)]).default(4),
      /** Each block's last BatchNorm gamma starts at 0 (Goyal 2017). */
      zeroInitGamma: z.boolean().default(true),
    })
    .prefault({}),
  /** Units of BatchNorm and gradient a step; divides `lanes`. */
  groups: positiveInt.default(1),
  optimizer: z
    .strictObject({
      /** SGD's learning rate at a batch of `lrPerBatch`, scaled linearly with the phase's batch. */
      lr: z.number().positive(),
      lrPerBatch: positiveInt.default(256),
      momentum: fraction.default(0.9),
      nesterov: z.boolean().default(false),
      weightDecay: z.number().min(0),
      /** `weights`: convolutions' and fc's weights; `all`: BatchNorm's and biases too. */
      decay: z.enum(['weights', 'all']).default('weights'),
      /** Linear from 0; in epochs, fractions allowed. */
      warmupEpochs: z.number().min(0).default(0),
      /** After the warm-up: half a cosine or a line to 0, or a factor at each milestone, an epoch from the start. */
      schedule: z
        .union([
          z.enum(['cosine', 'linear']),
          z.strictObject({
            milestones: z.array(z.number().positive()).min(1),
            factor: z.number().positive().max(1).default(0.1),
          }),
        ])
        .default('cosine'),
    })
    .strict(),
  /** Sharpness-aware minimisation (Foret 2020); false turns it off. */
  sam: z
    .union([
      z.strictObject({
        rho: z.number().positive(),
        adaptive: z.boolean().default(false),
        /** Every so many steps. */
        interval: positiveInt.default(1),
        /** `global`: one perturbation from the whole batch; `group`: each group its own (m-sharpness, §4.1). */
        scope: z.enum(['global', 'group']).default('group'),
        /** Whether the second pass moves BatchNorm's running statistics. */
        bnSecondPass: z.boolean().default(false),
      }),
      z.literal(false),
    ])
    .default(false),
  labelSmoothing: z.number().min(0).max(0.999).default(0),
  /** The gradient is scaled down to this L2 norm where it is longer; false turns it off. */
  clip: z.union([z.strictObject({ norm: z.number().positive() }), z.literal(false)]).default(false),
  /** Exponential moving average of weights and BatchNorm statistics, which evaluation takes; false turns it off. */
  ema: z
    .union([
      z.strictObject({
        /** After so many images a value's share of the average has halved. */
        halfLifeImages: z.number().positive(),
      }),
      z.literal(false),
    ])
    .default(false),
  /** Steps between two checkpoints; each epoch's end has one as well. */
  checkpointSteps: positiveInt.default(1000),
});

export type Recipe = z.output<typeof recipeSchema>;
export type PhaseRecipe = Recipe['phases'][number];
export type ModelRecipe = Recipe['model'];
export type OptimizerRecipe = Recipe['optimizer'];
export type SamRecipe = Exclude<Recipe['sam'], false>;
export type ClipRecipe = Exclude<Recipe['clip'], false>;
export type EmaRecipe = Exclude<Recipe['ema'], false>;

function invalid(where: string, issue: z.core.$ZodIssue): Fault {
  const path = issue.path.join('.') || 'the recipe';
  const received =
    issue.code === 'unrecognized_keys'
      ? `unknown key ${issue.keys.map((key) => `'${[...issue.path, key].join('.')}'`).join(', ')}`
      : `${path}: ${issue.message}`;
  const keys = issue.code === 'unrecognized_keys' ? allowedKeys(issue.path) : [];
  return new Fault({
    code: 'recipe-invalid',
    received: `${where}: ${received}`,
    expected: keys.length > 0 ? `one of ${keys.join(', ')}` : `a valid value for ${path}`,
    remedy: 'correct the recipe; stream/README.md lists every key',
    exit: 2,
  });
}

/** The keys that the schema allows at a path, for the message about a mistyped one. */
function allowedKeys(path: readonly PropertyKey[]): string[] {
  let node = z.toJSONSchema(recipeSchema, { io: 'input' }) as Record<string, unknown>;
  const variants = (schema: Record<string, unknown>) =>
    ((schema['anyOf'] as Record<string, unknown>[] | undefined) ?? [schema]).filter(({ type }) => type !== 'boolean');
  for (const part of path) {
    const [shape] = variants(node);
    const next =
      typeof part === 'number' ? shape?.['items'] : (shape?.['properties'] as Record<string, unknown>)?.[String(part)];
    node = (next ?? {}) as Record<string, unknown>;
  }
  return Object.keys((variants(node)[0]?.['properties'] ?? {}) as Record<string, unknown>);
}

/** Checks a parsed recipe. `where` names it in errors. */
export function parseRecipe(value: unknown, where: string): Recipe {
  const result = recipeSchema.safeParse(value);
  if (!result.success) throw invalid(where, result.error.issues[0] as z.core.$ZodIssue);
  const recipe = result.data;
  checkDivision(recipe, where);
  checkMilestones(recipe, where);
  return recipe;
}

function checkDivision(recipe: Recipe, where: string): void {
  const { lanes, groups, phases } = recipe;
  const wrong = phases.find(({ batch }) => batch % lanes !== 0);
  if (wrong) {
    const smallest = Math.min(...phases.map(({ batch }) => batch));
    const divisors = Array.from({ length: smallest }, (_, i) => i + 1).filter((n) =>
      phases.every(({ batch }) => batch % n === 0),
    );
    throw new Fault({
      code: 'recipe-lanes',
      received: `${where}: ${lanes} lanes and a batch of ${wrong.batch}`,
      expected: `a number of lanes that divides every phase's batch: ${divisors.join(', ')}`,
      remedy: 'change lanes or the batches',
      exit: 2,
    });
  }
  if (lanes % groups !== 0)
    throw new Fault({
      code: 'recipe-groups',
      received: `${where}: ${groups} groups and ${lanes} lanes`,
      expected: 'a number of groups that divides the lanes',
      remedy: 'change groups or lanes',
      exit: 2,
    });
}

/** A milestone inside the warm-up or behind the end would do nothing that anyone expects. */
function checkMilestones({ optimizer, phases }: Recipe, where: string): void {
  const { schedule, warmupEpochs } = optimizer;
  if (typeof schedule === 'string') return;
  const { milestones } = schedule;
  const end = phases.reduce((sum, { epochs, fixres }) => sum + (fixres ? 0 : epochs), 0);
  if (milestones.every((epoch, i) => epoch > (milestones[i - 1] ?? 0) && epoch >= warmupEpochs && epoch < end)) return;
  throw new Fault({
    code: 'recipe-milestones',
    received: `${where}: optimizer.schedule.milestones ${milestones.join(', ')}`,
    expected: `rising epochs from ${warmupEpochs} (the warm-up's end) to less than ${end} (all phases but FixRes)`,
    remedy: 'correct the milestones',
    exit: 2,
  });
}

/**
 * The recipe with some keys set, each as `path.to.key=value` (`sam.rho=0.1`, `phases.2.epochs=3`, `mixup=false`).
 * @throws Fault `usage` for another form, `recipe-invalid` for a key or value that the recipe does not take
 */
export function withSettings(recipe: Recipe, settings: readonly string[]): Recipe {
  if (settings.length === 0) return recipe;
  const changed = structuredClone(recipe) as unknown as Record<string, unknown>;
  for (const setting of settings) {
    const { path, value } = parseSetting(setting);
    const keys = path.split('.');
    let node = changed;
    for (const key of keys.slice(0, -1)) {
      if (typeof node[key] !== 'object' || node[key] === null) node[key] = {};
      node = node[key] as Record<string, unknown>;
    }
    node[keys.at(-1) as string] = value;
  }
  return parseRecipe(changed, `--set ${settings.join(' ')}`);
}

/** A setting's path and value. Fault `usage` for another form than `path.to.key=value` with a value in YAML. */
export function parseSetting(setting: string): { path: string; value: unknown } {
  const usage = (cause?: unknown) =>
    new Fault({
      code: 'usage',
      received: `--set ${setting}`,
      expected: 'KEY=VALUE with a value in YAML, as in --set optimizer.lr=0.2',
      remedy: 'correct --set',
      exit: 2,
      cause,
    });
  const [path = '', value] = setting.split(/=(.*)/s);
  if (value === undefined || path === '') throw usage();
  try {
    return { path, value: parse(value) };
  } catch (cause) {
    throw usage(cause);
  }
}

/** A recipe that ships with the project (by name) or a person's own file (by path). */
export async function loadRecipe(nameOrFile: string): Promise<Recipe> {
  const named = /^[a-z0-9][a-z0-9-]*$/.test(nameOrFile);
  const file = named ? new URL(`../../stream/recipes/${nameOrFile}.yaml`, import.meta.url) : nameOrFile;
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new Fault({
      code: 'recipe-missing',
      received: `recipe '${nameOrFile}' (${(cause as NodeJS.ErrnoException).code})`,
      expected: 'a name in stream/recipes or the path of a YAML file',
      remedy: 'see stream/recipes, or write ./NAME.yaml for a file in this folder',
      exit: 2,
      cause,
    });
  }
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new Fault({
      code: 'recipe-not-yaml',
      received: `${nameOrFile}: ${(cause as Error).message.split('\n')[0]}`,
      expected: 'YAML',
      remedy: 'correct the line named',
      exit: 2,
      cause,
    });
  }
  return parseRecipe(value, nameOrFile);
}
