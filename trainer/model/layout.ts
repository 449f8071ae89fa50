// Between the layout in memory (HWIO, [in, out]) and PyTorch's in files (OIHW, [out, in]).

import { sizeOf } from './initial.ts';
import type { Parameter } from './model.ts';

type Layout = Pick<Parameter, 'kind' | 'shape'>;

/** For every value in memory order, calls `visit` with its index in memory and its index in PyTorch's order. */
function visitPairs({ kind, shape }: Layout, visit: (memory: number, torch: number) => void): void {
  if (kind !== 'conv' && kind !== 'fc-weight') {
    for (let i = 0; i < sizeOf(shape); i++) visit(i, i);
    return;
  }
  // A fully connected weight is a 1×1 convolution's.
  const [height, width, input, output] = (kind === 'conv' ? shape : [1, 1, ...shape]) as [
    number,
    number,
    number,
    number,
  ];
  const area = height * width;
  let memory = 0;
  for (let place = 0; place < area; place++)
    for (let i = 0; i < input; i++) for (let o = 0; o < output; o++) visit(memory++, (o * input + i) * area + place);
}

export function toTorch(layout: Layout, values: Float32Array): Float32Array<ArrayBuffer> {
  const out = new Float32Array(values.length);
  visitPairs(layout, (memory, torch) => {
    out[torch] = values[memory] as number;
  });
  return out;
}

export function fromTorch(layout: Layout, values: Float32Array): Float32Array<ArrayBuffer> {
  const out = new Float32Array(values.length);
  visitPairs(layout, (memory, torch) => {
    out[memory] = values[torch] as number;
  });
  return out;
}
