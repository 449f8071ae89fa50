// More workers, more trainers, another log: the stream is the same to the byte.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openTransport } from '../../stream/transport/index.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { startBroker, type TestBroker } from '../broker.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { ledgerDigests } from '../stream/digests.ts';
import { produceSmall } from '../stream/producing.ts';
import { pick } from './length.ts';
import { BUCKETS, longRecipe, windowOf } from './long-recipe.ts';
import { train } from './trainer.ts';
import { type Undisturbed, undisturbed } from './undisturbed.ts';

const recipe = longRecipe(pick(40, 400));
/** Workers of the producer, and trainers. */
const CASES = pick(
  [
    [4, 1],
    [1, 2],
    [4, 4],
  ],
  [1, 4].flatMap((workers) => [1, 2, 4].map((ranks) => [workers, ranks])),
) as readonly (readonly [number, number])[];
const WINDOW_STEPS = 8;

describe('workers 1 ↔ 4, ranks 1 ↔ 2 ↔ 4, log ↔ Kafka', requirement('kafka'), () => {
  let broker: TestBroker;
  let shards: string;
  let expected: Undisturbed;
  before(async () => {
    broker = await startBroker();
    shards = await packPhotos(BUCKETS);
    // One worker, the embedded log, one reader.
    expected = await undisturbed(shards, recipe);
  });
  after(() => broker?.stop());

  const logs: Record<string, () => string> = {
    log: () => `log:${join(temporaryFolder(), 'log')}`,
    kafka: () => broker.transport,
  };
  for (const [log, url] of Object.entries(logs))
    for (const [workers, ranks] of CASES)
      it(`${log}, ${workers} workers, ${ranks} ranks: every lane and step is the same`, async () => {
        const opened: Transport[] = [];
        const open = async () => {
          opened.push(await openTransport(address));
          return opened.at(-1) as Transport;
        };
        const address = url();
        const run = `workers-${workers}-ranks-${ranks}`;
        const { lanes, steps } = expected.plan;
        try {
          const writer = await open();
          const reading = Array.from({ length: ranks }, async (_, rank) =>
            train({
              transport: await open(),
              run,
              expected,
              lanes: Array.from({ length: lanes / ranks }, (_, i) => (rank * lanes) / ranks + i),
            }),
          );
          const producing = produceSmall({
            transport: writer,
            run,
            shards,
            recipe,
            workers,
            windowBytes: windowOf(WINDOW_STEPS),
          });
          const [trained] = await Promise.all([Promise.all(reading), producing]);
          assert.deepEqual(
            trained.map((each) => each.steps),
            Array.from({ length: ranks }, () => steps),
          );
          assert.deepEqual(await ledgerDigests(writer, run), expected.digests);
        } finally {
          for (const transport of opened) await transport.close();
        }
      });
});
