import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { cachedFolder } from '../../ops/bench/cached.ts';
import { LEAST_IMAGES, type PhotoSet, photoSet, planPictures, warm } from '../../ops/bench/photo-set.ts';
import { temporaryFolder } from '../packed.ts';

const CLASSES = Array.from({ length: 102 }, (_, i) => `n0000000${i % 5}`);
const silent = (): void => {};

describe('the plan of the photo set', () => {
  it('begins the same for every number of pictures, with a path for each', () => {
    const most = planPictures(1000, CLASSES);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), (images) => {
        assert.deepEqual(planPictures(images, CLASSES), most.slice(0, images));
      }),
      { numRuns: 20 },
    );
    assert.equal(new Set(most.map(({ path }) => path)).size, 1000);
  });

  it('has sizes and coding in ImageNet’s shares', () => {
    const plan = planPictures(1000, CLASSES);
    const share = (of: (picture: (typeof plan)[number]) => boolean): number => plan.filter(of).length / plan.length;
    const near = (got: number, wanted: number): void =>
      assert.ok(Math.abs(got - wanted) < 0.02, `${got}, not ${wanted}`);
    near(
      share(({ width, height }) => width === 500 && height === 375),
      0.36,
    );
    near(
      share(({ chroma, quality }) => chroma === '4:4:4' && quality === 96),
      0.8,
    );
    near(
      share(({ path }) => path.startsWith('val/')),
      50_000 / 1_331_167,
    );
    assert.ok(plan.some(({ width, height }) => width * height > 4_000_000));
    assert.ok(plan.some(({ width }) => width < 128));
  });

  it('has every class in train at the least size, and val', () => {
    const plan = planPictures(LEAST_IMAGES, CLASSES);
    const train = plan.filter(({ path }) => path.startsWith('train/')).map(({ path }) => path.split('/')[1]);
    assert.deepEqual([...new Set(train)].sort(), [...new Set(CLASSES)].sort());
    assert.ok(train.length < plan.length);
  });
});

describe('the photo set', () => {
  let set: PhotoSet;
  before(async () => {
    process.env['MEDIUM_RECIPE_CACHE'] = temporaryFolder();
    set = await photoSet(LEAST_IMAGES, silent);
  });

  it('holds the planned pictures, of the bytes and means it names', async () => {
    const paths = await warm(set);
    assert.equal(paths.length, LEAST_IMAGES);
    let bytes = 0;
    let width = 0;
    for (const path of paths) {
      const file = await readFile(join(set.dir, path));
      bytes += file.length;
      width += (await sharp(file).metadata()).width;
    }
    assert.deepEqual([bytes, width / LEAST_IMAGES], [set.bytes, set.meanWidth]);
  });

  it('is made once', async () => {
    const said: string[] = [];
    const made = (await stat(set.dir)).ctimeMs;
    assert.deepEqual(await photoSet(LEAST_IMAGES, (line) => said.push(line)), set);
    assert.equal((await stat(set.dir)).ctimeMs, made);
    assert.deepEqual(said, []);
  });
});

describe('a folder of the cache', () => {
  it('is made once by callers at the same time, and again for other settings', async () => {
    process.env['MEDIUM_RECIPE_CACHE'] = temporaryFolder();
    let makes = 0;
    const make = async (aside: string): Promise<void> => {
      makes++;
      await writeFile(join(aside, 'file'), 'content');
    };
    const folder = (settings: number) => cachedFolder({ name: 'thing', settings, say: silent, make });
    const [first, second] = await Promise.all([folder(1), folder(1)]);
    assert.equal(first, second);
    assert.equal(makes, 1);
    assert.notEqual(await folder(2), first);
    assert.equal(await readFile(join(first, 'file'), 'utf8'), 'content');
  });

  it('leaves nothing where its making fails, and can be made then', async () => {
    const cache = temporaryFolder();
    process.env['MEDIUM_RECIPE_CACHE'] = cache;
    const failing = async (aside: string): Promise<void> => {
      await mkdir(join(aside, 'half'));
      throw new Error('no space');
    };
    await assert.rejects(cachedFolder({ name: 'thing', settings: 1, say: silent, make: failing }), /no space/);
    assert.deepEqual(await readdir(join(cache, 'tmp')), []);
    const home = await cachedFolder({ name: 'thing', settings: 1, say: silent, make: async () => {} });
    assert.deepEqual(await readdir(home), []);
  });
});
