// One plan through the embedded log and through a real Kafka broker: the same records to the byte.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Consumer } from '../../stream/consumer.ts';
import type { LedgerRecord } from '../../stream/ledger.ts';
import { readMeta } from '../../stream/meta.ts';
import { topicsOf } from '../../stream/topics.ts';
import { openTransport } from '../../stream/transport/index.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { startBroker } from '../broker.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { smallRecipe } from '../stream/fixtures.ts';
import { produceSmall, recordsOf } from '../stream/producing.ts';

const RUN = 'both';

async function digestsOf(transport: Transport): Promise<string[]> {
  const ledger = await recordsOf(transport, topicsOf(RUN).ledger);
  return ledger.flat().map((value) => {
    const { topic, lane, step, digest } = JSON.parse(value.toString()) as LedgerRecord;
    return `${topic} ${lane} ${step} ${digest}`;
  });
}

describe('the log and Kafka', () => {
  it('hold byte-identical records of one plan, with 1 and with 2 pool workers', requirement('kafka'), async () => {
    const broker = await startBroker();
    const shards = await packPhotos('16:24,24:32');
    const recipe = smallRecipe();
    const log = await openTransport(`log:${join(temporaryFolder(), 'log')}`);
    const kafka = await openTransport(broker.transport);
    try {
      await produceSmall({ transport: log, run: RUN, shards, recipe, workers: 1 });
      await produceSmall({ transport: kafka, run: RUN, shards, recipe, workers: 2 });
      const { meta, train, val } = topicsOf(RUN);
      for (const topic of [meta, train(16), train(24), val(16), val(24)]) {
        const [ours, theirs] = [await recordsOf(log, topic), await recordsOf(kafka, topic)];
        assert.ok(ours.flat().length > 0, topic);
        assert.deepEqual(theirs, ours, topic);
      }
      assert.deepEqual((await digestsOf(kafka)).sort(), (await digestsOf(log)).sort());

      const run = await readMeta(kafka, RUN);
      assert.ok(run);
      const consumer = await Consumer.open({
        transport: kafka,
        run: RUN,
        meta: run,
        lanes: [0, 1],
        fromStep: 0,
        prefetchBytes: 2 ** 20,
      });
      let steps = 0;
      while (await consumer.next()) steps++;
      assert.equal(steps, run.plan.steps);
      assert.equal(consumer.counters.skipped, 0);
      let val16 = 0;
      for await (const chunk of consumer.evaluation(16)) val16 += chunk.sample.length;
      assert.equal(val16, 18);
      await consumer.close();
    } finally {
      await kafka.close();
      await log.close();
      await broker.stop();
    }
  });
});
