// Test-time augmentation by mirroring: the mean of the probabilities that a photo and its mirror image get.

import type { EvaluationBatch } from './evaluate.ts';

/** Every image mirrored left to right. */
export function mirrored({ images, labels, resolution }: EvaluationBatch): EvaluationBatch {
  const flipped = new Uint8Array(images.length);
  const stride = resolution * 3;
  for (let row = 0; row < images.length; row += stride)
    for (let x = 0; x < stride; x += 3) {
      const from = row + stride - 3 - x;
      flipped[row + x] = images[from] as number;
      flipped[row + x + 1] = images[from + 1] as number;
      flipped[row + x + 2] = images[from + 2] as number;
    }
  return { images: flipped, labels, resolution };
}

/**
 * Logarithms of the mean of two softmaxes, [n · classes], which are logits of that mean: probabilities are averaged, as
 * Krizhevsky 2012 (§4.1) does over crops and mirror images, not logits.
 */
export function logMeanProbabilities(a: Float32Array, b: Float32Array, classes: number): Float32Array {
  const mean = new Float32Array(a.length);
  for (let row = 0; row < a.length; row += classes) {
    const [ofA, ofB] = [a, b].map((logits) => logSum(logits.subarray(row, row + classes))) as [number, number];
    for (let k = row; k < row + classes; k++)
      mean[k] = logSum([(a[k] as number) - ofA, (b[k] as number) - ofB]) - Math.LN2;
  }
  return mean;
}

/** log Σ exp, without an overflow. */
function logSum(values: Float32Array | readonly number[]): number {
  let highest = -Infinity;
  for (const value of values) highest = Math.max(highest, value);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - highest);
  return highest + Math.log(sum);
}
