// A case's weights, images and targets, by the formulas that its file quotes.

import { fnv1a } from '#shards';
import type { GroupBatch, HostState, Model } from '#trainer';
import { sizeOf } from '../../trainer/model/initial.ts';
import { fromTorch } from '../../trainer/model/layout.ts';
import type { CaseOptions } from './case-file.ts';

function hash32(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** The formula's u: the i-th of `name`'s numbers in [0, 1). */
function uniform(seed: number, name: string): (i: number) => number {
  const key = (fnv1a(name) ^ hash32(seed)) >>> 0;
  return (i) => hash32((i + key) >>> 0) / 4294967296;
}

/** A loop: `Float32Array.from` took three times as long over a ResNet's weights. */
function filled<T extends Float32Array | Uint8Array>(values: T, value: (i: number) => number): T {
  for (let i = 0; i < values.length; i++) values[i] = value(i);
  return values;
}

export function initialState(model: Model, { seed }: Pick<CaseOptions, 'seed'>): HostState {
  const weights: Record<string, Float32Array> = {};
  const slots: Record<string, Float32Array> = {};
  for (const parameter of model.parameters) {
    const { name, kind, shape, torchShape } = parameter;
    const u = uniform(seed, name);
    const fill = (value: (i: number) => number) => filled(new Float32Array(sizeOf(shape)), value);
    const spread = (std: number) => fill((i) => std * Math.sqrt(3) * (2 * u(i) - 1));
    const [output = 1, , height = 1, width = 1] = torchShape;
    const values = {
      conv: () => spread(Math.sqrt(2 / (output * height * width))),
      'fc-weight': () => spread(0.02),
      'fc-bias': () => fill(() => 0),
      'norm-weight': () => fill((i) => 0.5 + u(i)),
      'norm-bias': () => fill((i) => 0.2 * (u(i) - 0.5)),
    }[kind]();
    weights[name] = fromTorch(parameter, values);
    slots[name] = new Float32Array(values.length);
  }
  const statistics = Object.fromEntries(
    model.statistics.map(({ name, kind, channels }) => [
      name,
      new Float32Array(channels).fill(kind === 'variance' ? 1 : 0),
    ]),
  );
  return { step: 0, weights, statistics, slots, average: null };
}

export function batchOf({ batch, res, classes, seed }: CaseOptions, step: number): GroupBatch {
  const pixel = uniform(seed, `image.${step}`);
  const [a, b] = [uniform(seed, `labelA.${step}`), uniform(seed, `labelB.${step}`)];
  const share = 0.5 + 0.5 * uniform(seed, `lam.${step}`)(0);
  return {
    images: [filled(new Uint8Array(batch * res * res * 3), (i) => Math.floor(256 * pixel(i)))],
    labelA: Int32Array.from({ length: batch }, (_, i) => Math.floor(classes * a(i))),
    labelB: Int32Array.from({ length: batch }, (_, i) => Math.floor(classes * b(i))),
    lam: new Float32Array(batch).fill(share),
    samples: batch,
    resolution: res,
  };
}
