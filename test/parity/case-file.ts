// A case file: the case's options, PyTorch's figures in float64, and the bounds within which ours must lie.

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { Fault } from '#shards';

const whole = z.int().min(1);
const caseSchema = z.strictObject({
  /** Bottleneck blocks in each of the four stages. */
  layers: z.tuple([whole, whole, whole, whole]),
  /** The blurs' size; none of null, false and 0 blurs. 1 takes every second place, under BlurPool's names. */
  filter: z.union([z.int().min(0).max(7), z.null(), z.literal(false)]).transform((size) => size || null),
  classes: whole,
  res: whole,
  batch: whole,
  steps: whole,
  rho: z.number().min(0),
  adaptive: z.boolean(),
  interval: whole,
  lr: z.number().min(0),
  momentum: z.number().min(0),
  nesterov: z.boolean(),
  wd: z.number().min(0),
  smoothing: z.number().min(0).max(1),
  seed: z.int().min(0).max(0xffffffff),
  bn_second_pass: z.boolean(),
});

/** What a difference is divided by: the figure itself, the group's largest, or norm / √values of a sample's tensor. */
export type Scale = 'itself' | 'largest' | 'root mean square';

export interface Bound {
  readonly tolerance: number;
  readonly of: Scale;
}

const bound = z.union([z.number(), z.string()]).transform((value, context): Bound => {
  const [, number, of = 'itself'] = /^(\S+)(?: of the (largest|root mean square))?$/.exec(String(value)) ?? [];
  const tolerance = Number(number);
  if (tolerance > 0 && Number.isFinite(tolerance)) return { tolerance, of: of as Scale };
  context.addIssue({ code: 'custom', message: `must be a number, or 'NUMBER of the largest', not '${value}'` });
  return z.NEVER;
});

const toleranceSchema = z.strictObject({
  evalLogits: bound,
  firstLoss: bound,
  firstGradNorm: bound,
  samGradNorm: bound,
  /** One for each step, or one for all. */
  loss: z.union([z.array(bound), bound]),
  'final.norm': z.strictObject({ 'weights and biases': bound, 'running_mean, running_var': bound }),
  'final.sample': bound.optional(),
  finalEvalLogits: bound.optional(),
});

const norms = z.record(z.string(), z.number());
const fileSchema = z.looseObject({
  case: caseSchema,
  /** Of the first images of step 0's batch, before training, in inference mode; row-major [images, classes]. */
  evalLogits: z.array(z.number()).min(1),
  firstLoss: z.number(),
  /** ‖gradient‖₂ at step 0, by parameter. */
  firstGradNorm: norms,
  /** The same of the second pass of the first step at which SAM fires; empty where it fires at none. */
  samGradNorm: norms.nullish().transform((value) => value ?? {}),
  /** At w, of every step. */
  loss: z.array(z.number()),
  /** After the last step: ‖·‖₂ and first values in PyTorch's order, by parameter and running statistic. */
  final: z.record(z.string(), z.strictObject({ norm: z.number(), sample: z.array(z.number()) })),
  finalEvalLogits: z
    .array(z.number())
    .nullish()
    .transform((value) => value ?? []),
  tolerance: toleranceSchema,
});

/** What a file may hold beside figures. */
const REMARKS = new Set(['formula', 'rounding']);

export type CaseOptions = z.output<typeof caseSchema>;
export type CaseFile = z.output<typeof fileSchema>;

/** Names of what the file holds and we compare with nothing. */
export function unknownKeys(file: CaseFile): string[] {
  return Object.keys(file).filter((key) => !(key in fileSchema.shape) && !REMARKS.has(key));
}

export function badCase(received: string, expected: string, cause?: unknown): Fault {
  const remedy = 'test/parity/README.md says what a case holds and how to make one';
  return new Fault({ code: 'parity-case', received, expected, remedy, exit: 2, cause });
}

/** @throws Fault `parity-case` for a file that is missing, no JSON or no case, or whose figures do not fit its options. */
export async function readCase(path: string | URL): Promise<CaseFile> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw badCase(`${path}: ${(cause as Error).message}`, 'a JSON file', cause);
  }
  return parseCase(value, String(path));
}

/** Checks a case that was read; `where` names it in errors. */
export function parseCase(value: unknown, where: string): CaseFile {
  const result = fileSchema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw badCase(`${where}: ${issue?.path.join('.') || 'the file'}: ${issue?.message}`, 'a parity case');
  }
  checkCounts(result.data, where);
  return result.data;
}

function checkCounts({ case: options, ...file }: CaseFile, where: string): void {
  const { batch, classes, steps, interval, nesterov, momentum } = options;
  const wrong = (received: string, expected: string) => {
    throw badCase(`${where}: ${received}`, expected);
  };
  if (nesterov && momentum === 0) wrong('nesterov without a momentum', 'a momentum above 0, as in PyTorch');
  for (const name of ['evalLogits', 'finalEvalLogits'] as const) {
    const images = file[name].length / classes;
    if (!Number.isInteger(images) || images > batch)
      wrong(`${name} of ${file[name].length} values`, `${classes} for each of at most ${batch} images`);
  }
  const { loss } = file.tolerance;
  if (file.loss.length !== steps) wrong(`${file.loss.length} losses`, `${steps}, one a step`);
  if (Array.isArray(loss) && loss.length !== steps)
    wrong(`tolerance.loss of ${loss.length} values`, `${steps}, one a step`);
  if (steps < interval && Object.keys(file.samGradNorm).length > 0)
    wrong(`samGradNorm with an interval of ${interval}`, `none, as SAM fires at none of ${steps} steps`);
  if (steps >= interval && Object.keys(file.samGradNorm).length === 0)
    wrong('no samGradNorm', `the norms of step ${interval - 1}'s second pass`);
  for (const name of ['firstGradNorm', 'final'] as const)
    if (Object.keys(file[name]).length === 0) wrong(`an empty ${name}`, 'a figure for every parameter');
}
