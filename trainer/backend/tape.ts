// Reverse-mode differentiation: what was computed from what, walked backwards once. Our own and not tfjs's, because
// several gradients there are wrong or missing (mirrorPad, avgPool, batchNorm without offset), and because this one
// frees each activation and each gradient as soon as it was used, which tfjs does only at the very end.

import type { Tensor, TensorLibrary } from './kernels.ts';

/**
 * Gradients of the inputs, in their order; undefined where `needs` is false. Must return new tensors, never `dy` or a
 * saved one: the tape disposes of those.
 */
type Pull = (dy: Tensor, saved: readonly Tensor[], needs: readonly boolean[]) => (Tensor | undefined)[];

interface Entry {
  readonly output: number;
  readonly inputs: readonly (number | undefined)[];
  readonly saved: readonly Tensor[];
  readonly pull: Pull;
}

export class Tape {
  readonly #tf: TensorLibrary;
  readonly #tracked = new Set<number>();
  #entries: Entry[] = [];

  constructor(tf: TensorLibrary) {
    this.#tf = tf;
  }

  /** Marks tensors whose gradients are wanted; what is computed from none of them is not recorded and saves nothing. */
  watch(tensors: Iterable<Tensor>): void {
    for (const { id } of tensors) this.#tracked.add(id);
  }

  tracks(tensor: Tensor): boolean {
    return this.#tracked.has(tensor.id);
  }

  /** Notes that `output` came from `inputs`. `saved` is held (by reference count, not copied) until it was used. */
  record(output: Tensor, inputs: readonly Tensor[], saved: readonly Tensor[], pull: Pull): void {
    if (!inputs.some((input) => this.tracks(input))) return;
    this.#tracked.add(output.id);
    this.#entries.push({
      output: output.id,
      inputs: inputs.map((input) => (this.tracks(input) ? input.id : undefined)),
      saved: saved.map((tensor) => this.#tf.keep(tensor.clone())),
      pull,
    });
  }

  /**
   * Gradients of `targets`, given that of `output`; zeros where the output does not depend on one. Empties the tape;
   * `seed` stays the caller's.
   */
  gradients(output: Tensor, seed: Tensor, targets: readonly Tensor[]): Tensor[] {
    const tf = this.#tf;
    const pending = new Map<number, Tensor>([[output.id, seed.clone()]]);
    for (;;) {
      const entry = this.#entries.pop();
      if (!entry) break;
      const dy = pending.get(entry.output);
      if (dy) {
        pending.delete(entry.output);
        const needs = entry.inputs.map((input) => input !== undefined);
        const gradients = tf.tidy(() => entry.pull(dy, entry.saved, needs) as Tensor[]);
        dy.dispose();
        entry.inputs.forEach((input, i) => {
          const gradient = gradients[i];
          if (input !== undefined && gradient) accumulate(tf, pending, input, gradient);
        });
      }
      tf.dispose([...entry.saved]);
    }
    return targets.map((target) => pending.get(target.id) ?? tf.zerosLike(target));
  }

  /** Lets go of what is still held; needed only where `gradients` was not reached. */
  dispose(): void {
    for (const { saved } of this.#entries) this.#tf.dispose([...saved]);
    this.#entries = [];
  }
}

function accumulate(tf: TensorLibrary, pending: Map<number, Tensor>, id: number, gradient: Tensor): void {
  const earlier = pending.get(id);
  if (!earlier) {
    pending.set(id, gradient);
    return;
  }
  pending.set(id, tf.add(earlier, gradient));
  earlier.dispose();
  gradient.dispose();
}
