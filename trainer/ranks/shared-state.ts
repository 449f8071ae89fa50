// What all ranks hold alike: rank 0's state at the start, the same steps from there on.

import { createHash } from 'node:crypto';
import type { Backend } from '../backend/backend.ts';
import { named } from '../backend/kernels.ts';
import { type HostState, replace, type TrainState } from '../state.ts';
import type { Collective } from './collective.ts';

/** All that a state holds by name; every rank has an average or none, as they agree on the recipe. */
function partsOf<Part>(state: {
  readonly weights: Part;
  readonly slots: Part;
  readonly statistics: Part;
  readonly average: { readonly weights: Part; readonly statistics: Part } | null;
}): Part[] {
  const { weights, slots, statistics, average } = state;
  return [weights, slots, statistics, ...(average ? [average.weights, average.statistics] : [])];
}

/** Puts rank 0's values in the place of the others'; `step` is rank 0's. */
export function broadcastState(
  { rank, broadcast }: Collective,
  backend: Backend,
  state: TrainState,
  step: number,
): void {
  for (const tensors of partsOf(state))
    for (const name of Object.keys(tensors)) {
      const tensor = named(tensors, name);
      const values = rank === 0 ? tensor.dataSync<'float32'>() : new Float32Array(tensor.size);
      broadcast(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      if (rank > 0) replace(backend, tensors, name, backend.tf.tensor(values, tensor.shape, 'float32'));
    }
  state.step = step;
}

/** sha256 of all values. */
export function stateDigest(state: HostState): string {
  const hash = createHash('sha256');
  for (const values of partsOf(state).flatMap((part) => Object.values(part)))
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return hash.digest('hex');
}
