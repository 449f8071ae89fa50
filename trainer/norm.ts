// The length of all gradients together, to see whether they are finite.

import type { NamedTensors, Tensor, TensorLibrary } from './backend/kernels.ts';

/** ‖·‖₂ over all tensors together, a scalar: not finite where a value is not, or where float32 cannot hold the square. */
export function normOf(tf: TensorLibrary, tensors: Readonly<NamedTensors>): Tensor {
  // A scope each: otherwise every tensor's square would live at once.
  return tf.tidy(() => {
    const squares = Object.values(tensors).map((tensor) => tf.tidy(() => tf.sum(tf.square(tensor))));
    return tf.sqrt(tf.sum(tf.stack(squares)));
  });
}
