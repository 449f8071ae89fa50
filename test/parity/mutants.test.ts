// A trainer with a mistake fails a case; parity.test.ts holds that the right one passes them all.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requirement } from '../requirements.ts';
import { native } from '../trainer/backends.ts';
import { namedCase } from './cases.ts';
import { type Figure, passes } from './compare.ts';
import { figures, trainerOn } from './figures.ts';
import { CONTROL, MUTANTS, type Mutant } from './mutants.ts';

/** The first figure that lies too far off; the rest is not computed. */
async function firstFailure({ tells, options, trainer }: Mutant): Promise<Figure | null> {
  const file = await namedCase(tells);
  const right = trainerOn(await native());
  const mistaken = { ...file.case, ...options?.(file.case) };
  assert.notEqual(options === undefined, trainer === undefined, 'a mutant has one mistake');
  if (options) assert.notDeepEqual(mistaken, file.case);
  for await (const figure of figures(trainer?.(right) ?? right, file, mistaken)) if (!passes(figure)) return figure;
  return null;
}

for (const mutant of MUTANTS)
  test(`${mutant.mistake}: ${mutant.tells} fails`, requirement('parity'), async (t) => {
    const failure = await firstFailure(mutant);
    assert.ok(failure, 'every figure passed');
    t.diagnostic(`${failure.what}: ${failure.relative.toExponential(1)}, tolerance ${failure.tolerance}`);
  });

test('the injection without its mistake passes', requirement('parity'), async () => {
  assert.equal(await firstFailure(CONTROL), null);
});
