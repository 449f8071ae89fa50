// Several producers of one run: they share its lanes, take over from each other, and the stream is the one of a single one.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Consumer } from '../../stream/consumer.ts';
import { readMeta } from '../../stream/meta.ts';
import type { ProduceEvent, produce } from '../../stream/producer.ts';
import { reportProgress } from '../../stream/progress.ts';
import { type RunStatus, statusOf } from '../../stream/status.ts';
import { openTransport } from '../../stream/transport/index.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { ledgerDigests } from './digests.ts';
import { smallRecipe } from './fixtures.ts';
import { produceSmall } from './producing.ts';

const recipe = smallRecipe({ lanes: 4 });
const STEPS = 41;
const LANES = [0, 1, 2, 3];
/** Three steps of the first phase: producers wait for the trainer, so that none is done before another has come. */
const WINDOW = 3 * 8 * 16 * 16 * 3;
const PATIENCE_MS = 60_000;

interface Producing {
  readonly ended: ReturnType<typeof produce>;
  readonly stop: AbortController;
  readonly wrote: Set<number>;
  owned: readonly number[];
}

describe('producers of one run', () => {
  let shards: string;
  let url: string;
  let transport: Transport;
  before(async () => {
    shards = await packPhotos('16:24,24:32');
    url = `log:${join(temporaryFolder(), 'log')}`;
    transport = await openTransport(url);
    await produceSmall({ transport, run: 'alone', shards, recipe });
  });
  after(() => transport.close());

  /** A producer with a transport of its own, as a process would have. */
  async function start(run: string): Promise<Producing> {
    const own = await openTransport(url);
    const stop = new AbortController();
    const producing: Omit<Producing, 'ended'> = { stop, wrote: new Set(), owned: [] };
    const onEvent = (event: ProduceEvent) => {
      if (event.kind === 'lanes') producing.owned = event.lanes;
      if (event.kind === 'step') producing.wrote.add(event.record.lane);
    };
    const ended = produceSmall({
      ...{ transport: own, run, shards, recipe, windowBytes: WINDOW, signal: stop.signal, onEvent },
    }).finally(() => own.close());
    ended.catch(() => {});
    return Object.assign(producing, { ended });
  }

  async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    for (const end = Date.now() + PATIENCE_MS; !(await condition()); await sleep(20))
      if (Date.now() > end) assert.fail(`not within ${PATIENCE_MS / 1000} s: ${what}`);
  }

  const trainedTo = (run: string, step: number) =>
    reportProgress(transport, run, { trainer: 't', rank: 0, consumedStep: step, checkpointStep: 0 });

  /** Reads along and frees the window: every step must come once and in order. */
  async function openTrainer(run: string) {
    const meta = await readMeta(transport, run);
    assert.ok(meta);
    const reading = await Consumer.open({ transport, run, meta, lanes: LANES, fromStep: 0, prefetchBytes: 1 });
    let next = 0;
    return {
      async train(to: number): Promise<void> {
        for (; next < to; next++) {
          const lanes = await reading.next();
          const expected = LANES.map((lane) => [next, lane]);
          assert.deepEqual(
            lanes?.map(({ step, lane }) => [step, lane]),
            expected,
          );
          await trainedTo(run, next);
        }
      },
      /** The producers end with the plan, and the ledger is that of one alone. */
      async end(producers: readonly Producing[]): Promise<void> {
        await this.train(STEPS);
        assert.equal(await reading.next(), null);
        await reading.close();
        await Promise.all(producers.map(({ ended }) => ended));
        assert.deepEqual(await ledgerDigests(transport, run), await ledgerDigests(transport, 'alone'));
      },
    };
  }

  const shared = (producers: readonly Producing[]) =>
    producers
      .flatMap(({ owned }) => owned)
      .sort()
      .join() === LANES.join() && producers.every(({ owned }) => owned.length <= 2);

  it('share the lanes of a run that one began, and end together with its last step', async () => {
    const run = 'shared';
    const first = await start(run);
    await until(() => first.owned.length === 4, 'the first owns all lanes');
    const others = [await start(run), await start(run)];
    const all = [first, ...others];
    await until(() => shared(all), 'three producers share four lanes');
    await (await openTrainer(run)).end(all);
    for (const { wrote } of all) assert.ok(wrote.size > 0, 'each wrote a lane');
  });

  it('take over the lanes of one that stops, and of one that comes and goes', async () => {
    const run = 'taken-over';
    const [stays, goes] = [await start(run), await start(run)];
    await until(() => shared([stays, goes]), 'two producers share four lanes');
    const trainer = await openTrainer(run);
    await trainer.train(6);
    assert.ok(goes.wrote.size > 0, 'beyond the first window both write');
    goes.stop.abort();
    await goes.ended;
    await until(() => stays.owned.length === 4, 'the one that stays owns all lanes');
    const comes = await start(run);
    await until(() => shared([stays, comes]), 'it shares them with one that comes');
    await trainer.end([stays, comes]);
  });

  it('are seen by status, with what the trainer waits for', async () => {
    const run = 'seen';
    const meta = async () => (await readMeta(transport, run)) ?? assert.fail('no run');
    const producers = [await start(run), await start(run)];
    await until(() => shared(producers), 'two producers share four lanes');
    let status: RunStatus = await statusOf(transport, run, await meta());
    assert.deepEqual(
      status.producers.map(({ pid, windowBytes, lanes }) => [pid, windowBytes, lanes.length]),
      [
        [process.pid, WINDOW, 2],
        [process.pid, WINDOW, 2],
      ],
    );
    assert.deepEqual([status.joining, status.unowned, status.windowBytes, status.awaited], [0, [], WINDOW, null]);
    for (const { stop, ended } of producers) {
      stop.abort();
      await ended;
    }
    const held = Math.max(...(await statusOf(transport, run, await meta())).laneSteps);
    await trainedTo(run, held - 1);
    status = await statusOf(transport, run, await meta(), 50);
    assert.deepEqual([status.producers, status.unowned, status.windowBytes], [[], LANES, null]);
    assert.deepEqual(status.awaited, { trainer: 't/0', step: held, lanes: LANES });
    assert.deepEqual(status.rates, { produced: 0, consumed: 0 });
  });
});
