// The horizontal flip: left and right change places, with a probability.

import type { Draws } from '#shards';

/** Whether this image is flipped; takes one draw, whatever the probability. */
export function flips(probability: number, draws: Draws): boolean {
  return draws.uniform() < probability;
}
