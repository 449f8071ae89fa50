// What all ranks hold alike: rank 0's state at the start, the same steps from there on.

import { createHash } from 'node:crypto';
import type { Backend } from '../backend/backend.ts';
import { named } from '../backend/kernels.ts';
import { type HostState, replace, type TrainState } from '../state.ts';
import type { Collective } from './collective.ts';

/** Puts rank 0's values in the place of the others'; `step` is rank 0's. */
export function broadcastState(
  { rank, broadcast }: Collective,
  backend: Backend,
  state: TrainState,
  step: number,
): void {
  for (const tensors of [state.weights, state.slots, state.statistics])
    for (const name of Object.keys(tensors)) {
      const tensor = named(tensors, name);
      const values = rank === 0 ? tensor.dataSync<'float32'>() : new Float32Array(tensor.size);
      broadcast(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      if (rank > 0) replace(backend, tensors, name, backend.tf.tensor(values, tensor.shape, 'float32'));
    }
  state.step = step;
}

/** sha256 of all values. */
export function stateDigest({ weights, slots, statistics }: HostState): string {
  const hash = createHash('sha256');
  for (const values of [weights, slots, statistics].flatMap((tensors) => Object.values(tensors)))
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return hash.digest('hex');
}
