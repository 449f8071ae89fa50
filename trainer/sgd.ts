// Stochastic gradient descent with momentum, as PyTorch's torch.optim.SGD computes it (dampening 0).

import type { OptimizerRecipe } from '#stream';
import type { Backend } from './backend/backend.ts';
import { type NamedTensors, named } from './backend/kernels.ts';
import { decays } from './methods/weight-decay/weight-decay.ts';
import type { Parameter } from './model/model.ts';
import { replace, type TrainState } from './state.ts';

export type SgdOptions = Pick<OptimizerRecipe, 'momentum' | 'nesterov' | 'weightDecay' | 'decay'>;

/**
 * One step for the given parameters: d = g + weightDecay·w where the parameter decays; buffer ← momentum·buffer + d;
 * w ← w − rate·(nesterov ? d + momentum·buffer : buffer). The decay is coupled: part of the gradient, before the momentum.
 * The rate multiplies outside the buffer. A zero buffer makes the first step PyTorch's.
 */
export function sgdStep(
  backend: Backend,
  state: TrainState,
  parameters: readonly Parameter[],
  gradients: Readonly<NamedTensors>,
  rate: number,
  { momentum, nesterov, weightDecay, decay }: SgdOptions,
): void {
  const { tf } = backend;
  tf.tidy(() => {
    const [rateTensor, momentumTensor, decayTensor] = [tf.scalar(rate), tf.scalar(momentum), tf.scalar(weightDecay)];
    for (const parameter of parameters) {
      const { name } = parameter;
      // A scope each: otherwise every parameter's temporaries would live at once.
      tf.tidy(() => {
        const w = named(state.weights, name);
        const g = named(gradients, name);
        const d = weightDecay > 0 && decays(parameter, decay) ? tf.add(g, tf.mul(w, decayTensor)) : g;
        const buffer = tf.add(tf.mul(named(state.slots, name), momentumTensor), d);
        const direction = nesterov ? tf.add(d, tf.mul(buffer, momentumTensor)) : buffer;
        replace(backend, state.weights, name, tf.sub(w, tf.mul(direction, rateTensor)));
        replace(backend, state.slots, name, buffer);
      });
    }
  });
}
