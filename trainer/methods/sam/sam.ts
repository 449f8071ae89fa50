// Sharpness-aware minimisation (Foret 2020): the gradient is taken where the loss nearby is worst, the step from w.

import type { SamRecipe } from '#stream';
import { type NamedTensors, named, type Tensor, type TensorLibrary } from '../../backend/kernels.ts';

/** Keeps a zero gradient from dividing by zero; far below any norm that float32 training shows. */
const TINY = 1e-12;

/** Whether SAM fires at this step, counted from 0: at the last step of every `interval`. */
export function samFires(step: number, { interval }: Pick<SamRecipe, 'interval'>): boolean {
  return (step + 1) % interval === 0;
}

/**
 * w + e for every gradient given, with e = ρ·g / ‖g‖₂ over all of them together; adaptive (ASAM, Kwon 2021)
 * e = ρ·w²·g / ‖|w|·g‖₂. Returns new tensors; `weights` and `gradients` are left as they are. `norm` is a scalar: the
 * one divided by.
 */
export function perturb(
  tf: TensorLibrary,
  weights: Readonly<NamedTensors>,
  gradients: Readonly<NamedTensors>,
  { rho, adaptive }: Pick<SamRecipe, 'rho' | 'adaptive'>,
): { perturbed: NamedTensors; norm: Tensor } {
  return tf.tidy(() => {
    const names = Object.keys(gradients);
    const pair = (name: string): [Tensor, Tensor] => [named(weights, name), named(gradients, name)];
    const squares = names.map((name) => {
      const [w, g] = pair(name);
      return tf.sum(tf.square(adaptive ? tf.mul(w, g) : g));
    });
    const norm = tf.sqrt(tf.sum(tf.stack(squares)));
    const scale = tf.div(rho, tf.add(norm, TINY));
    const perturbed: NamedTensors = {};
    for (const name of names) {
      const [w, g] = pair(name);
      perturbed[name] = tf.add(w, tf.mul(adaptive ? tf.mul(tf.square(w), g) : g, scale));
    }
    return { perturbed, norm };
  });
}
