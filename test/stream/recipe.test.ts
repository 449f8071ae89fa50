import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { resolvePlan } from '../../stream/plan.ts';
import { loadRecipe, parseRecipe, withSettings } from '../../stream/recipe.ts';
import { smallRecipe } from './fixtures.ts';

/** Paths of all leaves, lists of phases as `phases[]`. */
function keysOf(value: object): string[] {
  return Object.entries(value).flatMap(([key, child]) => {
    if (key === 'phases')
      return (child as object[]).flatMap((phase) => keysOf(phase).map((path) => `phases[].${path}`));
    if (typeof child !== 'object' || Array.isArray(child)) return [key];
    return keysOf(child).map((path) => `${key}.${path}`);
  });
}

describe('a recipe', () => {
  it('names a mistyped key and those that are allowed beside it', () => {
    assert.throws(() => smallRecipe({ momentun: 1 }), {
      code: 'recipe-invalid',
      message: /unknown key 'momentun'; expected one of .*optimizer/,
    });
    assert.throws(() => smallRecipe({ model: { widht: 8 } }), { message: /'model\.widht'; expected one of .*width/ });
    assert.throws(() => smallRecipe({ phases: [{ resolution: 8, epochs: 1, batch: 2, fixres: { rate: 1 } }] }), {
      message: /'phases\.0\.fixres\.rate'; expected one of lr, lrPerBatch/,
    });
    assert.throws(() => smallRecipe({ optimizer: { lr: 'much', weightDecay: 0 } }), { message: /optimizer\.lr/ });
  });

  it('takes settings by path, and names what is wrong with one', () => {
    const changed = withSettings(smallRecipe(), ['seed=4', 'phases.0.epochs=3', 'sam={rho: 0.1}', 'mixup=false']);
    assert.deepEqual(
      [changed.seed, changed.phases[0]?.epochs, changed.sam, changed.mixup],
      [4, 3, smallRecipe({ sam: { rho: 0.1 } }).sam, false],
    );
    for (const wrong of ['seed', '=1', 'optimizer.lr=[1'])
      assert.throws(() => withSettings(smallRecipe(), [wrong]), { code: 'usage', exit: 2 });
    assert.throws(() => withSettings(smallRecipe(), ['augmentation.scale=[0.5, 2]']), { code: 'recipe-invalid' });
  });

  it('lists the numbers of lanes that would divide every batch', () => {
    assert.throws(() => smallRecipe({ lanes: 3 }), { code: 'recipe-lanes', message: /batch: 1, 2, 4;/ });
    assert.throws(() => smallRecipe({ groups: 4 }), { code: 'recipe-groups' });
  });

  it('is missing or no YAML with one clear error', async () => {
    await assert.rejects(loadRecipe('no-such-recipe'), { code: 'recipe-missing', exit: 2 });
    await assert.rejects(loadRecipe('./no/such/file.yaml'), { code: 'recipe-missing' });
    await assert.rejects(loadRecipe(new URL('../../../LICENSE', import.meta.url).pathname), {
      code: /recipe-(not-yaml|invalid)/,
    });
  });

  it('that ships resolves against a dataset of its size, with lanes as designed', async () => {
    const sizes: Record<string, [lanes: number, train: number]> = {
      quickstart: [4, 84],
      mini: [8, 34_745],
      medium: [32, 1_281_167],
      'medium-sam1': [32, 1_281_167],
    };
    const names = (await readdir(new URL('../../../stream/recipes/', import.meta.url))).map((file) =>
      file.replace('.yaml', ''),
    );
    assert.deepEqual(names.sort(), Object.keys(sizes).sort());
    for (const [name, [lanes, train]] of Object.entries(sizes)) {
      const recipe = await loadRecipe(name);
      assert.equal(recipe.name, name);
      assert.equal(recipe.lanes, lanes);
      const plan = resolvePlan(recipe, { sha256: '', counts: { train, val: 1 } });
      assert.equal(plan.phases.length, 3);
      assert.equal(plan.phases.at(-1)?.crop, 'centre');
    }
  });

  it('has every key in the card, and the card no other', async () => {
    const card = await readFile(new URL('../../../stream/README.md', import.meta.url), 'utf8');
    const [, recipeCard = ''] = card.split('## Recipe');
    const listed = [...recipeCard.matchAll(/^\| `([A-Za-z.[\]]+)` +\| /gm)].map((match) => match[1]);
    const keys = new Set<string>();
    const on = ['clip.norm=1', 'ema.halfLifeImages=1'];
    const recipes = [
      withSettings(await loadRecipe('quickstart'), on),
      withSettings(await loadRecipe('mini'), [...on, 'optimizer.schedule={milestones: [20]}']),
    ];
    for (const recipe of recipes) for (const key of keysOf(recipe)) keys.add(key);
    assert.deepEqual(listed.toSorted(), [...keys].sort());
  });

  it('survives its own JSON, as it goes through RUN.meta', async () => {
    const recipe = await loadRecipe('medium');
    assert.deepEqual(parseRecipe(JSON.parse(JSON.stringify(recipe)), 'again'), recipe);
  });
});
