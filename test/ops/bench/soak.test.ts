// The soak in its short form: what a pool's records take is used again or collected, whatever their consumers do.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { openSplit, readManifest } from '#shards';
import { soak } from '../../../ops/bench/soak.ts';
import { packPhotos } from '../../packed.ts';

const IMAGES = 8000;
const SIDE = 96;

it('memory does not grow with the images that a pool has made', { timeout: 120_000 }, async () => {
  const shards = await packPhotos(`${SIDE}:128`);
  const index = await openSplit(shards, await readManifest(shards), 'train', SIDE);
  const samples = Array.from({ length: index.samples }, (_, sample) => index.locate(sample));
  const said: string[] = [];
  const result = await soak({
    shards,
    samples,
    output: SIDE,
    images: IMAGES,
    workers: 2,
    say: (line) => said.push(line),
    signal: new AbortController().signal,
  });
  assert.ok(result.images >= IMAGES);
  assert.equal(said.length, 11, 'ten tenths after the warm-up');
  // V8 collects buffers when some 64 MB of them have come, so less than that says nothing.
  const recordsMb = (0.8 * IMAGES * SIDE * SIDE * 3) / 1e6;
  assert.ok(
    result.endMb - result.earlyMb < recordsMb / 2,
    `${result.earlyMb} → ${result.endMb} MB for ${recordsMb} MB of records`,
  );
});
