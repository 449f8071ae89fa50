// BlurPool (Zhang 2019): a small low-pass filter before every stride, so that a shifted image gives a shifted feature.

import { Fault } from '#shards';
import type { Matrix, Tensor4D } from '../../backend/kernels.ts';
import type { Ops } from '../../backend/ops.ts';

/**
 * Whoever asks for BlurPool gets it: `blurs` are the names of the layers that it replaced. A ResNet of this project has
 * at least the stem's; this keeps another layout from training without a blur, unsaid.
 * @throws Fault `blurpool-without-effect`
 */
export function checkBlurs(size: number | false, blurs: readonly string[]): void {
  if (size === false || blurs.length > 0) return;
  throw new Fault({
    code: 'blurpool-without-effect',
    received: `blurpool: ${size} and a model in which it replaces nothing`,
    expected: 'at least one layer with a stride',
    remedy: 'set model.blurpool: false',
    exit: 2,
  });
}

/** One row of Pascal's triangle over its sum: [1, 3, 3, 1] / 8 for size 4. The 2-D filter is its outer product. */
export function binomialFilter(size: number): Float64Array {
  let row = [1];
  while (row.length < size) row = [...row, 0].map((value, i) => value + (row[i - 1] ?? 0));
  const sum = 2 ** (size - 1);
  return Float64Array.from(row, (value) => value / sum);
}

/** Length of a blurred axis: reflect padding of size − 1 altogether, then whole windows. */
export function blurredLength(length: number, stride: number): number {
  return Math.floor((length - 1) / stride) + 1;
}

/**
 * The blur along one axis as a banded matrix [blurredLength, length], with the reflected border folded in:
 * floor((size − 1) / 2) values before, ceil((size − 1) / 2) after, the edge itself not repeated.
 * @throws Fault `blur-too-small` where the reflection would reach past the axis, as PyTorch refuses too.
 */
export function blurMatrix(length: number, size: number, stride: number): Matrix {
  const before = Math.floor((size - 1) / 2);
  const after = size - 1 - before;
  if (after >= length)
    throw new Fault({
      code: 'blur-too-small',
      received: `a feature map of ${length} px at a BlurPool of filter ${size}`,
      expected: `at least ${after + 1} px`,
      remedy: 'use a larger resolution or a smaller filter',
    });
  const filter = binomialFilter(size);
  const rows = blurredLength(length, stride);
  const values = new Float32Array(rows * length);
  for (let row = 0; row < rows; row++)
    for (let tap = 0; tap < size; tap++) {
      const at = row * stride + tap - before;
      const reflected = at < 0 ? -at : at >= length ? 2 * (length - 1) - at : at;
      const cell = row * length + reflected;
      values[cell] = (values[cell] as number) + (filter[tap] as number);
    }
  return { values, rows, columns: length };
}

/** x [n, h, w, c] blurred and taken at every `stride`-th place. Not trained. */
export function blurPool(ops: Ops, x: Tensor4D, size: number, stride: number): Tensor4D {
  const [, h, w] = x.shape;
  return ops.separable(x, blurMatrix(h, size, stride), blurMatrix(w, size, stride));
}
