// Exponential moving average of the weights and of BatchNorm's running statistics: what evaluation takes.

import type { EmaRecipe } from '#stream';
import type { Backend } from '../../backend/backend.ts';
import { type NamedTensors, named } from '../../backend/kernels.ts';
import { replace, type Values } from '../../state.ts';

/** The share in 0 … 1 that an average keeps at a step of `batch` images: halved after `halfLifeImages`. */
export function emaDecay({ halfLifeImages }: EmaRecipe, batch: number): number {
  return 0.5 ** (batch / halfLifeImages);
}

/** average ← live: a FixRes phase starts so. */
export function restartAverage({ tf }: Pick<Backend, 'tf'>, average: Values, live: Values): void {
  each(average, live, (tensors, name, value) => replace({ tf }, tensors, name, value.clone()));
}

/**
 * average ← average + (1 − decay)·(live − average), the linear interpolation of timm's ModelEmaV3: a value that does not
 * move stays the same to the bit.
 */
export function moveAverage({ tf }: Pick<Backend, 'tf'>, average: Values, live: Values, decay: number): void {
  tf.tidy(() => {
    const share = tf.scalar(1 - decay);
    each(average, live, (tensors, name, value) =>
      // A scope each: otherwise every parameter's temporaries would live at once.
      tf.tidy(() => {
        const old = named(tensors, name);
        replace({ tf }, tensors, name, tf.add(old, tf.mul(tf.sub(value, old), share)));
      }),
    );
  });
}

function each(
  average: Values,
  live: Values,
  visit: (tensors: NamedTensors, name: string, value: NamedTensors[string]) => void,
): void {
  for (const kind of ['weights', 'statistics'] as const)
    for (const name of Object.keys(average[kind])) visit(average[kind], name, named(live[kind], name));
}

/** `trained`: as the last step left them. */
export type WeightsChoice = 'trained' | 'average';

/** What is evaluated: the average where there is one, and its name for whoever reads the scores. */
export function evaluated(state: Values & { readonly average: Values | null }): {
  values: Values;
  weights: WeightsChoice;
} {
  return state.average ? { values: state.average, weights: 'average' } : { values: state, weights: 'trained' };
}
