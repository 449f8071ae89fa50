// The only broker dies without warning while a producer appends and a trainer reads, and is started again, several times.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openTransport } from '../../stream/transport/index.ts';
import { startBroker } from '../broker.ts';
import { packPhotos } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { ledgerDigests } from '../stream/digests.ts';
import { produceSmall } from '../stream/producing.ts';
import { pick } from './length.ts';
import { BUCKETS, longRecipe, windowOf } from './long-recipe.ts';
import { LONGEST_GAP_MS, train } from './trainer.ts';
import { undisturbed } from './undisturbed.ts';

const KILLS = pick(2, 10);
const RUN = 'killed';

describe('broker SIGKILL and restart mid-produce and mid-consume', requirement('kafka'), () => {
  it(`${KILLS} times: the stream is the same to the byte, and no step is lost, doubled or late`, async () => {
    const recipe = longRecipe(30 * (KILLS + 1));
    const shards = await packPhotos(BUCKETS);
    const expected = await undisturbed(shards, recipe);
    const broker = await startBroker();
    const writer = await openTransport(broker.transport);
    const reader = await openTransport(broker.transport);
    try {
      let kills = 0;
      let restarted = Promise.resolve();
      const between = Math.floor(expected.plan.steps / (KILLS + 1));
      const windowBytes = windowOf(8);
      const [, trained] = await Promise.all([
        produceSmall({ transport: writer, run: RUN, shards, recipe, windowBytes }),
        train({
          transport: reader,
          run: RUN,
          expected,
          onStep: async (step) => {
            if ((step + 1) % between !== 0 || kills === KILLS) return;
            await restarted;
            await broker.crash();
            kills++;
            restarted = broker.restart();
            restarted.catch(() => undefined); // met above or below
          },
        }),
      ]);
      await restarted;
      assert.equal(kills, KILLS);
      assert.equal(trained.steps, expected.plan.steps);
      assert.ok(trained.longestGapMs < LONGEST_GAP_MS, `${trained.longestGapMs} ms without a step`);
      assert.ok(writer.counters['lostConnections'] && reader.counters['reconnects'], 'what was lost is counted');
      assert.deepEqual(await ledgerDigests(reader, RUN), expected.digests);
    } finally {
      await writer.close();
      await reader.close();
      await broker.stop();
    }
  });
});
