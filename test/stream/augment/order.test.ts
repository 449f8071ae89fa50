// What is drawn depends on the sample's place in the plan alone: neither on the number of workers nor on who is done first.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openSplit, permutation, readManifest } from '#shards';
import { resolvePlan } from '../../../stream/plan.ts';
import { RenderPool } from '../../../stream/pool.ts';
import type { ChunkTask } from '../../../stream/render.ts';
import { taskSource } from '../../../stream/tasks.ts';
import { packPhotos } from '../../packed.ts';
import { smallRecipe } from '../fixtures.ts';

/** Every chunk's bytes in the tasks' order; asked for in a shuffled order, all at once. */
async function rendered(shards: string, tasks: readonly ChunkTask[], workers: number, shuffle: number) {
  const pool = await RenderPool.open(shards, workers);
  try {
    const chunks = new Map<number, Uint8Array>();
    const finished: number[] = [];
    const order = permutation(tasks.length, { seed: shuffle, purpose: 'test' });
    await Promise.all(
      [...order].map(async (i) => {
        const { bytes } = await pool.render(tasks[i] as ChunkTask);
        chunks.set(i, Uint8Array.from(bytes));
        finished.push(i);
      }),
    );
    return { chunks: tasks.map((_, i) => chunks.get(i)), finished };
  } finally {
    await pool.close();
  }
}

describe('crop, flip and MixUp', () => {
  it('are the same with 1 and 3 workers, in whatever order chunks are made and done', { timeout: 60_000 }, async () => {
    const shards = await packPhotos('16:24,24:32');
    const manifest = await readManifest(shards);
    const { sha256, counts } = manifest.dataset;
    const plan = resolvePlan(smallRecipe(), { sha256, counts });
    const bucket = async (resolution: number) => ({
      train: await openSplit(shards, manifest, 'train', resolution),
      val: await openSplit(shards, manifest, 'val', resolution),
    });
    const source = taskSource(plan, '', new Map([[16, await bucket(16)]]));
    const { stepsPerEpoch, epochs } = plan.phases[0] ?? assert.fail('no phase');
    const tasks = Array.from({ length: stepsPerEpoch * epochs }, (_, step) =>
      source.train(step, step % plan.lanes),
    ).flat();
    assert.ok(tasks.every(({ crop, flip, mixup }) => crop === 'random-resized' && flip > 0 && mixup > 0));
    const one = await rendered(shards, tasks, 1, 1);
    const three = await rendered(shards, tasks, 3, 2);
    assert.notDeepEqual(one.finished, three.finished);
    assert.deepEqual(one.chunks, three.chunks);
  });
});
