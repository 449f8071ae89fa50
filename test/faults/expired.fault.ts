// What a trainer or producer needs is deleted: it is told how to make it again, or finds another copy; nobody waits in vain.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import { Fault } from '../../shards/index.ts';
import type { ProduceEvent } from '../../stream/producer.ts';
import { topicsOf } from '../../stream/topics.ts';
import { openTransport } from '../../stream/transport/index.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { startBroker, type TestBroker } from '../broker.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { ledgerDigests } from '../stream/digests.ts';
import { smallRecipe } from '../stream/fixtures.ts';
import { produceSmall, type SmallProduce } from '../stream/producing.ts';
import { pick } from './length.ts';
import { type TrainerOptions, train } from './trainer.ts';
import { type Undisturbed, undisturbed } from './undisturbed.ts';

const RESOLUTION = 64;
const EPOCHS = pick(6, 12);
/** A step is 2 records of 98 KB: a reader's queue of 2 MB holds 20 steps, and not the whole run. */
const recipe = smallRecipe({ phases: [{ resolution: RESOLUTION, epochs: EPOCHS, batch: 16 }] });
/** 84 photos an epoch. */
const STEPS = 5 * EPOCHS;
const STEP_BYTES = 16 * RESOLUTION * RESOLUTION * 3;
/** A log that lost a topic says so after 5 s, which a broker that just started has to know its topics; longer is a hang. */
const TOLD_MS = 60_000;

/** A log with its ways to lose what it holds. */
interface Lossy {
  readonly open: () => Promise<Transport>;
  /** Lets the backstop work on less than 16 MB. */
  readonly smallSegments: (topic: string) => Promise<void>;
}

let shards: string;
let expected: Undisturbed;

before(async () => {
  shards = await packPhotos(`${RESOLUTION}:72`);
  expected = await undisturbed(shards, recipe);
  assert.equal(expected.plan.steps, STEPS);
});

/** What it fails with, within TOLD_MS. */
async function faultOf(work: Promise<unknown>): Promise<Fault> {
  const limit = new AbortController();
  const late = sleep(TOLD_MS, 'nothing', { signal: limit.signal });
  late.catch(() => undefined);
  const failure = await Promise.race([work.then(() => 'no failure').catch((error: unknown) => error), late]);
  limit.abort();
  assert.ok(failure instanceof Fault, String(failure));
  return failure;
}

/** The step that a remedy says to begin at. */
function stepIn({ remedy }: Fault): number {
  const step = /stream produce .*--from-step (\d+)/.exec(remedy)?.[1];
  assert.ok(step, remedy);
  return Number(step);
}

function losses(lossy: () => Lossy): void {
  let transport: Transport;
  before(async () => {
    transport = await lossy().open();
  });
  after(() => transport?.close());

  const produce = (run: string, options: Partial<SmallProduce> = {}) =>
    produceSmall({ transport, run, shards, recipe, ...options });
  const trainer = (run: string, options: Partial<TrainerOptions> = {}) =>
    train({ transport, run, expected, prefetchBytes: STEP_BYTES, ...options });
  const topicOf = (run: string) => topicsOf(run).train(RESOLUTION);

  /** Produces until every lane has `step`. */
  async function produceTo(run: string, step: number): Promise<void> {
    const stop = new AbortController();
    let lanes = 0;
    const onEvent = (event: ProduceEvent) => {
      if (event.kind === 'step' && event.record.step === step && ++lanes === expected.plan.lanes) stop.abort();
    };
    await produce(run, { onEvent, signal: stop.signal, windowBytes: (step + 1) * STEP_BYTES });
  }

  async function deleteAll(run: string): Promise<void> {
    const extents = await transport.ends(topicOf(run));
    for (const [lane, { end }] of extents.entries()) await transport.deleteBefore(topicOf(run), lane, end);
  }

  it('records are deleted below what a slow trainer reads: it is told the step, which is made again', async () => {
    const run = 'deleted';
    await produce(run);
    const refused = await faultOf(trainer(run, { onStep: (step) => (step === 5 ? deleteAll(run) : undefined) }));
    assert.equal(refused.code, 'step-expired');
    const fromStep = stepIn(refused);
    assert.ok(fromStep > 5 && fromStep < STEPS);
    await produce(run, { fromStep });
    const { steps } = await trainer(run, { fromStep });
    assert.equal(steps, STEPS - fromStep);
    assert.deepEqual(await ledgerDigests(transport, run), expected.digests);
  });

  it('the size backstop drops what a slow trainer reads: it goes on with the copies that were made since', async () => {
    const run = 'backstop';
    const windowBytes = STEPS * STEP_BYTES;
    await produce(run, { windowBytes });
    await lossy().smallSegments(topicOf(run));
    const { steps, counters } = await trainer(run, {
      onStep: async (step) => {
        if (step !== 3) return;
        // The backstop is two windows: each of these is the whole run again.
        for (let copy = 2; copy <= 4; copy++) await produce(run, { windowBytes, fromStep: 0 });
        while ((await transport.ends(topicOf(run))).some(({ begin }) => begin < STEPS)) await sleep(50);
      },
    });
    assert.equal(steps, STEPS);
    assert.ok(counters.seeks > 0);
  });

  it('the train topic is deleted under a waiting trainer: the steps are made again into a new one', async () => {
    const run = 'topic-waiting';
    await produceTo(run, 9);
    const waiting = trainer(run, {
      onStep: (step) => (step === 9 ? transport.deleteTopics([topicOf(run)]) : undefined),
    });
    waiting.catch(() => undefined); // met below
    await sleep(500);
    await produce(run);
    const failure = await waiting.then(() => null).catch((error: unknown) => error);
    if (failure !== null) assert.ok(failure instanceof Fault && stepIn(failure) === 10, String(failure));
    // The steps before are in no log: a trainer that resumes there is told so, whatever lies at their offsets now.
    for (const fromStep of [0, 5]) assert.equal(stepIn(await faultOf(trainer(run, { fromStep }))), fromStep);
    assert.equal((await trainer(run, { fromStep: 10 })).steps, STEPS - 10);
    await produce(run, { fromStep: 0 });
    assert.equal((await trainer(run)).steps, STEPS);
  });

  it('the train topic of a finished run is deleted: nobody waits for its records', async () => {
    const run = 'topic-finished';
    await produce(run);
    await transport.deleteTopics([topicOf(run)]);
    assert.equal((await faultOf(trainer(run))).code, 'unknown-topic');
    // A producer that finds nothing to do makes the topic, but not its records.
    await produce(run);
    assert.equal(stepIn(await faultOf(trainer(run))), 0);
    await produce(run, { fromStep: 0 });
    assert.equal((await trainer(run)).steps, STEPS);
  });

  it('the train topic is deleted under a producer and a reading trainer: the producer is told, the trainer not left', async () => {
    const run = 'topic-producing';
    const producing = produce(run, { windowBytes: 8 * STEP_BYTES });
    producing.catch(() => undefined); // met below
    const training = trainer(run, {
      onStep: (step) => (step === 20 ? transport.deleteTopics([topicOf(run)]) : undefined),
    });
    training.catch(() => undefined); // met below
    assert.equal((await faultOf(producing)).code, 'unknown-topic');
    // The trainer waits for whoever goes on; then it reads on in the new topic, or is told what to make again.
    await produce(run);
    const failure = await training.then(() => null).catch((error: unknown) => error);
    if (failure !== null) {
      assert.ok(failure instanceof Fault, String(failure));
      const fromStep = stepIn(failure);
      await produce(run, { fromStep });
      assert.equal((await trainer(run, { fromStep })).steps, STEPS - fromStep);
    }
    assert.deepEqual(await ledgerDigests(transport, run), expected.digests);
  });

  it('the whole run is deleted under a waiting producer and a waiting trainer: both are told, and it is made anew', async () => {
    const run = 'run-deleted';
    const { meta, ledger, progress, train: trainTopic, val } = topicsOf(run);
    let held = () => {};
    const full = new Promise<void>((resolve) => {
      held = resolve;
    });
    const producing = produce(run, {
      windowBytes: 8 * STEP_BYTES,
      onEvent: (event) => {
        if (event.kind === 'window' && event.step > 8) held();
      },
    });
    producing.catch(() => undefined); // met below
    // The last progress that is reported lets the producer go on to step 18 and no further.
    const training = trainer(run, { onStep: (step) => (step === 10 ? full : undefined) });
    training.catch(() => undefined); // met below
    await full;
    await transport.deleteTopics([meta, ledger, progress, trainTopic(RESOLUTION), val(RESOLUTION)]);
    assert.equal((await faultOf(producing)).code, 'unknown-topic');
    assert.equal((await faultOf(training)).code, 'unknown-topic');
    await produce(run);
    assert.equal((await trainer(run)).steps, STEPS);
    assert.deepEqual(await ledgerDigests(transport, run), expected.digests);
  });
}

// Side by side: on Kafka most of the time is waiting for what is not there.
describe('retention expired under a slow trainer; topic deleted', { concurrency: 2 }, () => {
  describe('log', { concurrency: 1 }, () => {
    const folder = join(temporaryFolder(), 'log');
    losses(() => ({ open: () => openTransport(`log:${folder}`), smallSegments: async () => undefined }));
  });

  describe('kafka', { ...requirement('kafka'), concurrency: 1 }, () => {
    let broker: TestBroker;
    before(async () => {
      // Else a broker looks for what may go 30 s after its start and every 5 minutes.
      const settings = { 'log.initial.task.delay.ms': '500', 'log.retention.check.interval.ms': '200' };
      broker = await startBroker({ settings: () => settings });
    });
    after(() => broker?.stop());
    losses(() => ({ open: () => openTransport(broker.transport), smallSegments: (topic) => shrink(broker, topic) }));
  });
});

async function shrink({ transport }: TestBroker, name: string): Promise<void> {
  const brokers = [transport.slice('kafka://'.length)];
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name }] });
    // All are sent again, since what is left out goes back to its default.
    const before = (resources[0]?.configEntries ?? []).filter(({ isDefault }) => !isDefault);
    const configEntries = before.map(({ configName, configValue }) => ({
      name: configName,
      value: configName === 'segment.bytes' ? '1048576' : configValue,
    }));
    assert.ok(configEntries.some(({ name }) => name === 'segment.bytes'));
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name, configEntries }] });
  } finally {
    await admin.disconnect();
  }
}
