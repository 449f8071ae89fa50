// A recipe of small images and as many steps as a fault needs, with a change of resolution half-way.

import type { Recipe } from '../../stream/recipe.ts';
import { smallRecipe } from '../stream/fixtures.ts';

export const BUCKETS = '16:24,24:32';
/** 84 photos in batches of 8. */
const STEPS_AN_EPOCH = 10;

/** At least so many steps of 8 images over 4 lanes. */
export function longRecipe(steps: number): Recipe {
  const epochs = Math.ceil(steps / 2 / STEPS_AN_EPOCH);
  return smallRecipe({
    lanes: 4,
    phases: [
      { resolution: 16, epochs, batch: 8 },
      { resolution: 24, epochs, batch: 8 },
    ],
  });
}

/** Bytes of so many steps at the larger resolution. */
export const windowOf = (steps: number): number => steps * 8 * 24 * 24 * 3;
