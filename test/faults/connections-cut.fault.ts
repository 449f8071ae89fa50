// Connections of producer and trainer break in the middle of requests and answers, and acknowledgements are lost.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openTransport } from '../../stream/transport/index.ts';
import { packPhotos } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { ledgerDigests } from '../stream/digests.ts';
import { produceSmall } from '../stream/producing.ts';
import { pick } from './length.ts';
import { BUCKETS, longRecipe, windowOf } from './long-recipe.ts';
import { startProxiedBroker } from './proxy.ts';
import { train } from './trainer.ts';
import { undisturbed } from './undisturbed.ts';

const CUTS = pick(10, 50);
/** One in five ends all connections at once, the others one in the middle of what it carries. */
const ALL_AT_ONCE = CUTS / 5;
const LIMITS = { requests: CUTS / 5, acknowledgements: (2 * CUTS) / 5, answers: CUTS / 5 };
const SEED = 1;
const RUN = 'cut';

describe('acknowledgements dropped and connections cut', requirement('kafka'), () => {
  it(`${CUTS} times: the stream is the same to the byte, and no step is lost, doubled or late`, async () => {
    const recipe = longRecipe(16 * CUTS);
    const shards = await packPhotos(BUCKETS);
    const expected = await undisturbed(shards, recipe);
    const { broker, proxy } = await startProxiedBroker();
    const direct = await openTransport(broker.transport);
    const writer = await openTransport(proxy.url);
    const reader = await openTransport(proxy.url);
    try {
      const between = Math.floor(expected.plan.steps / (ALL_AT_ONCE + 1));
      let all = 0;
      proxy.arm({ seed: SEED, oneIn: 40, limits: LIMITS });
      const [, trained] = await Promise.all([
        produceSmall({ transport: writer, run: RUN, shards, recipe, windowBytes: windowOf(8) }),
        train({
          transport: reader,
          run: RUN,
          expected,
          onStep: (step) => {
            if ((step + 1) % between !== 0 || all === ALL_AT_ONCE) return;
            all++;
            proxy.cutAll();
          },
        }),
      ]);
      const { requests, acknowledgements, answers, cut } = proxy.counts;
      assert.deepEqual({ requests, acknowledgements, answers }, LIMITS);
      assert.equal(all, ALL_AT_ONCE);
      assert.ok(cut >= ALL_AT_ONCE);
      assert.equal(trained.steps, expected.plan.steps);
      const lost = (writer.counters['lostConnections'] ?? 0) + (reader.counters['lostConnections'] ?? 0);
      assert.ok(lost >= CUTS, `${lost} lost connections are counted`);
      assert.deepEqual(await ledgerDigests(direct, RUN), expected.digests);
    } finally {
      await writer.close();
      await reader.close();
      await direct.close();
      await proxy.close();
      await broker.stop();
    }
  });
});
