// A small recipe and plan for tests of the stream room.

import { type Plan, resolvePlan } from '../../stream/plan.ts';
import { parseRecipe, type Recipe } from '../../stream/recipe.ts';

export const smallRecipe = (changes: object = {}): Recipe =>
  parseRecipe(
    {
      name: 'small',
      lanes: 2,
      phases: [
        { resolution: 16, epochs: 2, batch: 8 },
        { resolution: 24, epochs: 1, batch: 4, fixres: {} },
      ],
      optimizer: { lr: 0.1, weightDecay: 0 },
      ...changes,
    },
    'a test',
  );

export const smallPlan = (changes: object = {}, counts = { train: 37, val: 5 }): Plan =>
  resolvePlan(smallRecipe(changes), { sha256: '0'.repeat(64), counts });
