// Evaluation: top-1, top-5 and mean loss over every sample given, in inference mode.

import { Fault } from '#shards';
import type { Backend } from './backend/backend.ts';
import type { NamedTensors } from './backend/kernels.ts';
import { normaliseImages, Ops } from './backend/ops.ts';
import { Tape } from './backend/tape.ts';
import type { Model } from './model/model.ts';

export interface EvaluationBatch {
  /** U8 [n, resolution, resolution, 3]. */
  readonly images: Uint8Array;
  /** [n]. */
  readonly labels: Int32Array;
  readonly resolution: number;
}

export interface EvaluationResult {
  readonly samples: number;
  /** Shares in 0 … 1. With fewer than five classes top5 is 1. */
  readonly top1: number;
  readonly top5: number;
  /** Mean cross-entropy against the hard label, natural logarithm. */
  readonly loss: number;
}

/** Logits [n · classes] row-major, in inference mode. */
export function inferLogits(
  backend: Backend,
  model: Model,
  values: { readonly weights: Readonly<NamedTensors>; readonly statistics: Readonly<NamedTensors> },
  { images, labels, resolution }: EvaluationBatch,
): Float32Array {
  const { tf } = backend;
  return tf.tidy(() => {
    const x = normaliseImages(backend, images, [labels.length, resolution, resolution, 3]);
    const ops = new Ops(backend, new Tape(tf));
    return model.forward({ ...values, ops, mode: 'inference', batchStatistics: {} }, x).dataSync<'float32'>();
  });
}

/** How one sample was answered. */
export interface Answer {
  readonly label: number;
  /** Of equal logits the lower class, as argmax has it. */
  readonly predicted: number;
  /** Classes before the right one: 0 is a hit. */
  readonly rank: number;
  /** Cross-entropy, natural logarithm: −log of the right class's probability. */
  readonly loss: number;
}

/** Adds up scores batch by batch; nothing is dropped, and the order of the batches does not matter to top-1 and top-5. */
export class Evaluation {
  readonly #classes: number;
  readonly #onAnswer: (answer: Answer) => void;
  /** [label, predicted]: how many samples. */
  readonly confusion: Int32Array;
  /** By label, how many samples have the right class among the first five. */
  readonly top5: Int32Array;
  #samples = 0;
  #top1 = 0;
  #top5 = 0;
  #loss = 0;

  /** `onAnswer` is told of each sample, in order. */
  constructor(classes: number, onAnswer: (answer: Answer) => void = () => {}) {
    this.#classes = classes;
    this.#onAnswer = onAnswer;
    this.confusion = new Int32Array(classes * classes);
    this.top5 = new Int32Array(classes);
  }

  /** Scores in float64 on the host: 1000 classes cost microseconds beside the forward pass. */
  add(logits: Float32Array, labels: Int32Array): void {
    const classes = this.#classes;
    if (logits.length !== labels.length * classes)
      throw new Error(`${logits.length} logits for ${labels.length} labels of ${classes} classes`);
    labels.forEach((label, i) => {
      const row = logits.subarray(i * classes, (i + 1) * classes);
      const own = row[label];
      if (own === undefined || !row.every(Number.isFinite))
        throw new Fault({
          code: own === undefined ? 'label-out-of-range' : 'logits-not-finite',
          received: own === undefined ? `label ${label}` : `logits ${row.slice(0, 5).join(', ')} …`,
          expected: own === undefined ? `0 … ${classes - 1}` : 'finite numbers',
          remedy: 'the checkpoint or the shards do not belong to this model, or training diverged',
        });
      // Of equal logits the lower class counts as the higher, as argmax has it.
      const rank = row.reduce((above, value, k) => above + Number(value > own || (value === own && k < label)), 0);
      const highest = row.reduce((a, b) => Math.max(a, b));
      const sum = row.reduce((total, value) => total + Math.exp(value - highest), 0);
      const loss = highest + Math.log(sum) - own;
      this.#samples++;
      this.#top1 += Number(rank < 1);
      this.#top5 += Number(rank < 5);
      this.#loss += loss;
      const predicted = row.indexOf(highest);
      const cell = label * classes + predicted;
      this.confusion[cell] = (this.confusion[cell] as number) + 1;
      this.top5[label] = (this.top5[label] as number) + Number(rank < 5);
      this.#onAnswer({ label, predicted, rank, loss });
    });
  }

  result(): EvaluationResult {
    const samples = this.#samples;
    return { samples, top1: this.#top1 / samples, top5: this.#top5 / samples, loss: this.#loss / samples };
  }
}

/** Evaluates a stream of batches. */
export async function evaluate(
  backend: Backend,
  model: Model,
  values: { readonly weights: Readonly<NamedTensors>; readonly statistics: Readonly<NamedTensors> },
  batches: AsyncIterable<EvaluationBatch> | Iterable<EvaluationBatch>,
): Promise<EvaluationResult> {
  const evaluation = new Evaluation(model.classes);
  for await (const batch of batches) evaluation.add(inferLogits(backend, model, values, batch), batch.labels);
  return evaluation.result();
}
