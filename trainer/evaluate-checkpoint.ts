// `trainer evaluate`: the scores of weights on a split of packed shards, or on original files; no stream needed.

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type ClassEntry, Fault, readManifest, type Split, syncFolder, writeFileDurably } from '#shards';
import { evaluationSamples, openOriginals } from '#stream';
import { checkBackendName, loadBackend } from './backend/backend.ts';
import { Evaluation, type EvaluationBatch, type EvaluationResult, inferLogits } from './evaluate.ts';
import { PredictionLines, reportText } from './evaluation-report.ts';
import { logMeanProbabilities, mirrored } from './flip-average.ts';
import type { WeightsChoice } from './methods/ema/ema.ts';
import { uploadValues } from './state.ts';
import { evaluationDefaults, readWeights } from './weights.ts';
import { wilson } from './wilson.ts';

export interface EvaluateOptions {
  /** A folder checkpoint-STEP, a trainer's OUT, whose newest is taken, or what `trainer import` wrote. */
  readonly checkpoint: string;
  /** Packed shards; either these or `source`. */
  readonly shards?: string | undefined;
  /** Original files, evaluated by the protocol of published figures. */
  readonly source?: string | undefined;
  readonly split: Split;
  /** Of shards, which bucket; default the last phase's, for imported weights 224. */
  readonly resolution: number | undefined;
  /** Default the recipe's, for imported weights 0.875. */
  readonly cropRatio?: number | undefined;
  readonly weights?: WeightsChoice | undefined;
  /** Average with the mirror image's probabilities. */
  readonly flip?: boolean | undefined;
  /** A JSON file for scores by class and the confusion matrix. */
  readonly report?: string | undefined;
  /** A CSV file for every answer. */
  readonly predictions?: string | undefined;
  readonly backend: string;
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface EvaluateResult extends EvaluationResult {
  readonly checkpoint: string;
  readonly step: number;
  readonly weights: WeightsChoice;
  readonly split: Split;
  readonly resolution: number;
  readonly cropRatio: number;
  readonly flip: boolean;
  readonly backend: string;
  /** Wilson's 95 % interval of top1. */
  readonly top1Interval: readonly [low: number, high: number];
}

export async function evaluateCheckpoint(options: EvaluateOptions): Promise<EvaluateResult> {
  checkBackendName(options.backend);
  const { folder, model, values, choice, step, checkpoint } = await readWeights(options.checkpoint, options.weights);
  const defaults = evaluationDefaults(checkpoint?.recipe);
  const { split, flip = false, report, predictions, onLine = () => {} } = options;
  const resolution = options.resolution ?? defaults.resolution;
  const cropRatio = options.cropRatio ?? defaults.cropRatio;
  const samples = await openSamples(options, { resolution, cropRatio });
  if (samples.classes.length !== model.classes)
    throw new Fault({
      code: 'other-classes',
      received: `${samples.where} with ${samples.classes.length} classes`,
      expected: `${model.classes}, as ${folder} answers`,
      remedy: 'evaluate on the classes that it was trained on',
    });
  for (const notice of samples.notices) onLine(notice);

  const backend = await loadBackend(options.backend);
  if (backend.note) onLine(backend.note);
  const lines = new PredictionLines();
  const evaluation = new Evaluation(
    model.classes,
    predictions === undefined ? () => {} : (answer) => lines.add(answer),
  );
  const tensors = uploadValues(backend, model, values);
  const answers = (batch: EvaluationBatch) => inferLogits(backend, model, tensors, batch);
  for await (const { paths, ...batch } of samples.batches()) {
    lines.names(paths);
    const logits = answers(batch);
    const both = flip ? logMeanProbabilities(logits, answers(mirrored(batch)), model.classes) : logits;
    evaluation.add(both, batch.labels);
  }
  backend.tf.dispose([tensors.weights, tensors.statistics]);
  const scores = evaluation.result();
  if (scores.samples !== samples.count)
    throw new Error(`${scores.samples} of ${samples.count} samples of ${samples.where} were evaluated`);
  const top1Interval = wilson(Math.round(scores.top1 * scores.samples), scores.samples);
  const how = { split, resolution, cropRatio, flip, backend: backend.name };
  const result = { checkpoint: folder, step, weights: choice, ...how, ...scores, top1Interval };
  for (const line of samples.ending()) onLine(line);
  if (report !== undefined) await writeFile(report, reportText(result, samples.classes, evaluation));
  if (predictions !== undefined) await writeFile(predictions, `${lines.lines.join('\n')}\n`);
  return result;
}

interface Samples {
  /** For messages. */
  readonly where: string;
  readonly count: number;
  readonly classes: readonly ClassEntry[];
  readonly notices: readonly string[];
  /** Each sample once, in order. `paths` is empty where samples have no files of their own. */
  batches(): AsyncGenerator<EvaluationBatch & { readonly paths: readonly string[] }>;
  /** What there is to tell when all is read. */
  ending(): string[];
}

async function openSamples(
  { shards, source, split }: EvaluateOptions,
  sizes: { readonly resolution: number; readonly cropRatio: number },
): Promise<Samples> {
  const { resolution } = sizes;
  if ((shards === undefined) === (source === undefined))
    throw new Fault({
      code: 'usage',
      received: shards === undefined ? 'neither --shards nor --source' : 'both --shards and --source',
      expected: 'one of them: packed shards, or original files',
      remedy: 'give one',
      exit: 2,
    });
  if (source !== undefined) {
    const originals = await openOriginals({ source, split, ...sizes });
    const { entries, classes, notices, decoders } = originals;
    async function* batches() {
      for await (const batch of originals.batches()) yield { ...batch, resolution };
    }
    const ending = () =>
      decoders.sharp === 0 ? [] : [`${decoders.sharp} of ${entries.length} photos were decoded by sharp`];
    return { where: source, count: entries.length, classes, notices, batches, ending };
  }
  const where = shards as string;
  const { dataset } = await readManifest(where);
  async function* batches() {
    for await (const { images, labelA } of evaluationSamples({ shards: where, split, ...sizes }))
      yield { images, labels: labelA, resolution, paths: [] };
  }
  const { classes, counts } = dataset;
  return { where, count: counts[split], classes, notices: [], batches, ending: () => [] };
}

async function writeFile(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFileDurably(path, text);
  await syncFolder(dirname(path));
}
