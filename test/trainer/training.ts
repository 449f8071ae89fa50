// A small net and its batches, for tests that train.

import { Draws } from '#shards';
import {
  type Backend,
  buildModel,
  createState,
  type GroupBatch,
  type Model,
  type StepOptions,
  type TrainState,
} from '#trainer';
import type { NamedTensors } from '../../trainer/backend/kernels.ts';

export const RESOLUTION = 48;

export function smallModel(block: 'bottleneck' | 'basic' = 'bottleneck'): Model {
  return buildModel({ block, layers: [1, 1, 1, 1], width: 4, blurpool: 3, zeroInitGamma: false }, 3);
}

export const PLAIN: StepOptions = {
  learningRate: 0.05,
  optimizer: { momentum: 0.9, nesterov: true, weightDecay: 5e-4, decay: 'weights' },
  sam: false,
  labelSmoothing: 0.1,
  fixres: false,
};

export const WITH_SAM: StepOptions = {
  ...PLAIN,
  sam: { rho: 0.05, adaptive: false, interval: 1, scope: 'group', bnSecondPass: false },
};

/** n images of noise, tinted by their class so that there is something to learn; MixUp's partner is the next sample. */
export function noiseBatch(step: number, group = 0, n = 4): GroupBatch {
  const draws = new Draws({ seed: 5, purpose: 'test.pixels', step, index: group });
  const labelA = Int32Array.from({ length: n }, (_, i) => (i + step) % 3);
  const chunk = (from: number, to: number) => {
    const pixels = new Uint8Array((to - from) * RESOLUTION * RESOLUTION * 3);
    pixels.forEach((_, i) => {
      const sample = from + Math.floor(i / (RESOLUTION * RESOLUTION * 3));
      pixels[i] = draws.below(128) + (i % 3 === labelA[sample] ? 127 : 0);
    });
    return pixels;
  };
  return {
    images: [chunk(0, n / 2), chunk(n / 2, n)],
    labelA,
    labelB: Int32Array.from(labelA, (_, i) => labelA[(i + 1) % n] as number),
    lam: new Float32Array(n).fill(0.9),
    samples: n,
    resolution: RESOLUTION,
  };
}

export function freshState(backend: Backend, model: Model): TrainState {
  return createState(backend, model, 11);
}

/** Values by name, on the host. */
export function valuesOf(tensors: NamedTensors): Record<string, Float32Array> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensor.dataSync<'float32'>()]));
}
