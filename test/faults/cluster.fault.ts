// Three brokers, and one after the other dies without warning and comes back, while a producer appends and a trainer reads.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { topicsOf } from '../../stream/topics.ts';
import { openTransport } from '../../stream/transport/index.ts';
import { startCluster } from '../cluster.ts';
import { packPhotos } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { ledgerDigests } from '../stream/digests.ts';
import { produceSmall } from '../stream/producing.ts';
import { pick } from './length.ts';
import { BUCKETS, longRecipe, windowOf } from './long-recipe.ts';
import { LONGEST_GAP_MS, train } from './trainer.ts';
import { undisturbed } from './undisturbed.ts';

/** Each broker at least once, and on for so long. */
const MINUTES = pick(0, 5);
/** While brokers die, two cores make about one step a second: 240 in 5 minutes. */
const STEPS = pick(160, 500);
/** The trainer spreads its steps over so long, so that the stream is under way all the time. */
const STREAM_MS = pick(20_000, MINUTES * 60_000);
const RUN = 'cluster';

describe('3 brokers, replication 3, min.insync 2: one broker killed at a time, in turn', requirement('kafka'), () => {
  it(`${MINUTES > 0 ? `for ${MINUTES} minutes` : 'each once'}: nothing is lost, doubled or changed`, async () => {
    const recipe = longRecipe(STEPS);
    const shards = await packPhotos(BUCKETS);
    const expected = await undisturbed(shards, recipe);
    const cluster = await startCluster(3);
    const writer = await openTransport(cluster.transport);
    const reader = await openTransport(cluster.transport);
    const { ledger, progress, train: trainTopic } = topicsOf(RUN);
    const topics = [ledger, progress, trainTopic(16), trainTopic(24)];
    const killed = [0, 0, 0];
    /** The next one goes when the last has all records again: two of three must always have them. */
    const killInTurn = async (): Promise<void> => {
      const end = Date.now() + MINUTES * 60_000;
      do {
        for (const index of killed.keys()) {
          await cluster.kill(index + 1);
          killed[index] = (killed[index] ?? 0) + 1;
          await cluster.restart(index + 1);
          await cluster.untilInSync(topics);
        }
      } while (Date.now() < end);
    };
    let killing: Promise<void> | undefined;
    let end = 0;
    try {
      const { steps } = expected.plan;
      const [, trained] = await Promise.all([
        produceSmall({ transport: writer, run: RUN, shards, recipe, windowBytes: windowOf(8) }),
        train({
          transport: reader,
          run: RUN,
          expected,
          onStep: async (step) => {
            if (step === 10) {
              end = Date.now() + STREAM_MS;
              killing = killInTurn();
              killing.catch(() => undefined); // met below
            }
            // Not all may be killed by then.
            if (step === steps - 10) await killing;
            else await sleep(Math.max(0, end - Date.now()) / (steps - step));
          },
        }),
      ]);
      await killing;
      assert.ok(Math.min(...killed) >= 1, killed.join(' '));
      assert.equal(trained.steps, steps);
      assert.ok(trained.longestGapMs < LONGEST_GAP_MS, `${trained.longestGapMs} ms without a step`);
      assert.ok(writer.counters['lostConnections'], 'what was lost is counted');
      assert.deepEqual(await ledgerDigests(reader, RUN), expected.digests);
    } finally {
      await writer.close();
      await reader.close();
      await cluster.stop();
    }
  });
});
