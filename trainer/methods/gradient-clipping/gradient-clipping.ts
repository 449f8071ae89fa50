// Gradient clipping by the global norm (Pascanu 2013): a gradient that is too long keeps its direction, not its length.

import { type NamedTensors, named, type Tensor, type TensorLibrary } from '../../backend/kernels.ts';
import { normOf } from '../../norm.ts';

/** Keeps a zero gradient from dividing by zero; PyTorch's. */
const EPSILON = 1e-6;

/**
 * Every gradient times min(1, max / (‖g‖₂ + 1e-6)), the norm over all of them together, as PyTorch's
 * torch.nn.utils.clip_grad_norm_. Returns new tensors; `norm` is a scalar, before the clipping.
 */
export function clipByNorm(
  tf: TensorLibrary,
  gradients: Readonly<NamedTensors>,
  max: number,
): { clipped: NamedTensors; norm: Tensor } {
  return tf.tidy(() => {
    const names = Object.keys(gradients);
    const norm = normOf(tf, gradients);
    const factor = tf.minimum(1, tf.div(max, tf.add(norm, EPSILON)));
    return { clipped: Object.fromEntries(names.map((name) => [name, tf.mul(named(gradients, name), factor)])), norm };
  });
}
