// Initial weights: a pure function of seed and parameter name, the same on every backend and machine.

import { Draws } from '#shards';
import type { Parameter } from './model.ts';
import { inverseNormal } from './normal.ts';

/** One parameter's first values, in its memory layout. */
export function initialValues({ name, shape, start }: Parameter, seed: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(sizeOf(shape));
  const draws = new Draws({ seed, purpose: `init.${name}` });
  if (start.kind === 'constant') values.fill(start.value);
  if (start.kind === 'uniform')
    for (let i = 0; i < values.length; i++) values[i] = start.bound * (2 * draws.uniform() - 1);
  if (start.kind === 'normal')
    for (let i = 0; i < values.length; i++)
      values[i] = start.deviation * inverseNormal((draws.uint32() + 0.5) / 4294967296);
  return values;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, side) => product * side, 1);
}
