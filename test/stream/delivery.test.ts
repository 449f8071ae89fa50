// Law 3 on the embedded log: what the ledger names is delivered, once and checked; everything else is skipped or named.

import assert from 'node:assert/strict';
import { readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Fault } from '../../shards/index.ts';
import { Consumer, type LaneStep } from '../../stream/consumer.ts';
import { encodeLedger, type LedgerRecord } from '../../stream/ledger.ts';
import { type RunMeta, readMeta } from '../../stream/meta.ts';
import { placeOf } from '../../stream/plan.ts';
import { reportProgress } from '../../stream/progress.ts';
import { statusOf } from '../../stream/status.ts';
import { topicsOf } from '../../stream/topics.ts';
import { openTransport } from '../../stream/transport/index.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { smallRecipe } from './fixtures.ts';
import { produceSmall, recordsOf } from './producing.ts';

const recipe = smallRecipe();
let shards: string;
let transport: Transport;

before(async () => {
  shards = await packPhotos('16:24,24:32');
  transport = await openTransport(`log:${join(temporaryFolder(), 'log')}`);
});
after(() => transport.close());

async function metaOf(run: string): Promise<RunMeta> {
  const meta = await readMeta(transport, run);
  assert.ok(meta);
  return meta;
}

async function consumer(run: string, fromStep = 0): Promise<Consumer> {
  const meta = await metaOf(run);
  const lanes = Array.from({ length: meta.plan.lanes }, (_, lane) => lane);
  return Consumer.open({ transport, run, meta, lanes, fromStep, prefetchBytes: 2 ** 20 });
}

async function consumeAll(run: string, fromStep = 0) {
  const reading = await consumer(run, fromStep);
  const steps: LaneStep[][] = [];
  try {
    for (let step = await reading.next(); step; step = await reading.next()) steps.push(step);
    return { steps, counters: reading.counters };
  } finally {
    await reading.close();
  }
}

async function ledgerOf(run: string): Promise<LedgerRecord[]> {
  const records = await recordsOf(transport, topicsOf(run).ledger);
  return records.flat().map((value) => JSON.parse(value.toString()) as LedgerRecord);
}

describe('delivery', () => {
  it('brings every step of the plan in order, each sample of an epoch at most once, mixed as labelled', async () => {
    await produceSmall({ transport, run: 'whole', shards, recipe });
    const { plan } = await metaOf('whole');
    const { steps, counters } = await consumeAll('whole');
    assert.deepEqual(
      steps.map((lanes) => lanes[0]?.step),
      Array.from({ length: plan.steps }, (_, step) => step),
    );
    assert.equal(counters.skipped, 0);
    const seen = new Map<number, number[]>();
    for (const lanes of steps) {
      const { phase, epoch } = placeOf(plan, lanes[0]?.step ?? 0);
      assert.deepEqual(
        lanes.map(({ lane }) => lane),
        [0, 1],
      );
      for (const { samples, chunks } of lanes) {
        assert.equal(samples, phase.batch / plan.lanes);
        for (const { sample, lam, labelA, labelB, images } of chunks) {
          seen.set(epoch, [...(seen.get(epoch) ?? []), ...sample]);
          assert.equal(images.length, labelA.length * phase.resolution ** 2 * 3);
          if (phase.mixup === 0) assert.deepEqual([[...lam], labelB], [[...lam].fill(1), labelA]);
        }
      }
    }
    for (const [epoch, samples] of seen) assert.equal(new Set(samples).size, samples.length, `epoch ${epoch}`);
    assert.equal(seen.get(0)?.length, 80);
  });

  it('brings the whole val split, in order, each time it is asked for', async () => {
    const reading = await consumer('whole');
    for (const resolution of [16, 24, 16]) {
      const samples: number[] = [];
      for await (const chunk of reading.evaluation(resolution)) samples.push(...chunk.sample);
      assert.deepEqual(
        samples,
        Array.from({ length: 18 }, (_, i) => i),
      );
    }
    await reading.close();
  });

  it('goes on at any step', async () => {
    const { steps } = await consumeAll('whole', 13);
    assert.equal(steps[0]?.[0]?.step, 13);
  });

  it('makes the same records with 1 and 2 workers, under any run’s name', async () => {
    const { fresh, laneSteps } = await produceSmall({ transport, run: 'two-workers', shards, recipe, workers: 2 });
    assert.ok(fresh < laneSteps / 2, `${fresh} records in new memory of ${laneSteps}: appended ones are released`);
    for (const topic of ['train', 'val'] as const)
      for (const resolution of [16, 24])
        assert.deepEqual(
          await recordsOf(transport, topicsOf('two-workers')[topic](resolution)),
          await recordsOf(transport, topicsOf('whole')[topic](resolution)),
        );
  });

  it('resumes after the ledger, redoes a step without one, and the reader skips what was left behind', async () => {
    const stop = new AbortController();
    await produceSmall({
      transport,
      run: 'resumed',
      shards,
      recipe,
      signal: stop.signal,
      onEvent: (event) => {
        if (event.kind === 'step' && event.record.step === 5) stop.abort();
      },
    });
    const cut = (await ledgerOf('resumed')).filter(({ step }) => step >= 0).length;
    assert.ok(cut > 0 && cut < (await ledgerOf('whole')).length, `${cut} lane-steps before the stop`);
    // What a producer leaves that was killed between a chunk and its ledger record.
    const [orphan] = (await recordsOf(transport, topicsOf('whole').train(16)))[0] ?? [];
    assert.ok(orphan);
    await transport.append(topicsOf('resumed').train(16), 0, orphan);
    await produceSmall({ transport, run: 'resumed', shards, recipe });

    const digests = (records: LedgerRecord[]) =>
      records
        .map(({ topic, lane, step, digest }) => [topic.split('.').slice(1).join('.'), lane, step, digest].join(' '))
        .sort();
    assert.deepEqual(digests(await ledgerOf('resumed')), digests(await ledgerOf('whole')));
    const { steps, counters } = await consumeAll('resumed');
    assert.equal(steps.length, (await metaOf('resumed')).plan.steps);
    assert.equal(counters.seeks, 1);
  });

  it('regenerates steps on demand, and the newest copy is the one that is read', async () => {
    await produceSmall({ transport, run: 'again', shards, recipe });
    const before = (await ledgerOf('again')).length;
    await produceSmall({ transport, run: 'again', shards, recipe, fromStep: 39 });
    assert.equal((await ledgerOf('again')).length, before + 2 * 2);
    assert.equal((await consumeAll('again')).steps.length, 41);
  });

  it('refuses another plan under a taken name, naming the first key', async () => {
    await assert.rejects(produceSmall({ transport, run: 'whole', shards, recipe: smallRecipe({ seed: 9 }) }), {
      code: 'run-taken',
      message: /plan\.seed = 9; expected 0/,
    });
    // Only the training differs: the stream is the same.
    await produceSmall({ transport, run: 'whole', shards, recipe: smallRecipe({ labelSmoothing: 0.1 }) });
  });

  it('names a bucket that was not packed, and a bad run name', async () => {
    const other = smallRecipe({ phases: [{ resolution: 40, epochs: 1, batch: 8 }] });
    await assert.rejects(produceSmall({ transport, run: 'other', shards, recipe: other }), {
      code: 'bucket-missing',
      message: /buckets 16, 24; expected bucket 40/,
    });
    await assert.rejects(produceSmall({ transport, run: 'Bad_Name', shards, recipe }), { code: 'run-name', exit: 2 });
  });
});

describe('a damaged run', () => {
  /** A ledger record of lane 0 that says something wrong about the next step of a run that was stopped. */
  async function damaged(run: string, change: (record: LedgerRecord) => Partial<LedgerRecord>, code: string) {
    const stop = new AbortController();
    const onEvent = (event: { kind: string; record?: LedgerRecord }) => {
      if (event.record?.step === 1) stop.abort();
    };
    await produceSmall({ transport, run, shards, recipe, signal: stop.signal, onEvent });
    const topic = topicsOf(run).train(16);
    const next = 1 + Math.max(...(await ledgerOf(run)).filter(({ lane }) => lane === 0).map(({ step }) => step));
    const healthy = (await ledgerOf('whole')).find(({ lane, step }) => lane === 0 && step === next);
    assert.ok(healthy);
    const wanted = (await recordsOf(transport, topicsOf('whole').train(16)))[0]?.[next];
    assert.ok(wanted);
    const offset = await transport.append(topic, 0, wanted);
    const record = { ...healthy, topic, offset, end: offset + 1 };
    await transport.append(topicsOf(run).ledger, 0, encodeLedger({ ...record, ...change(record) }));
    const reading = await consumer(run, next);
    await assert.rejects(reading.next(), { code });
    await reading.close();
  }

  it('names bytes that differ from the digest', () =>
    damaged('digest', () => ({ digest: '0'.repeat(32) }), 'digest-mismatch'));

  it('names a chunk that is missing inside the range', () =>
    damaged('missing', ({ chunks }) => ({ chunks: chunks + 1 }), 'chunk-missing'));

  it('names two ledger records of one step with different digests', async () => {
    const [record] = (await ledgerOf('again')).filter(({ lane, step }) => lane === 1 && step === 4);
    assert.ok(record);
    await transport.append(topicsOf('again').ledger, 1, encodeLedger({ ...record, digest: 'f'.repeat(32) }));
    await assert.rejects(consumer('again'), { code: 'ledger-contradiction' });
  });

  it('names a foreign plan’s record inside the range', async () => {
    const other = smallRecipe({ seed: 4 });
    await produceSmall({ transport, run: 'foreign', shards, recipe: other });
    const records = await recordsOf(transport, topicsOf('foreign').train(16));
    const [theirs] = records[0] ?? [];
    assert.ok(theirs);
    const [entry] = (await ledgerOf('two-workers')).filter(({ lane, step }) => lane === 0 && step === 40);
    assert.ok(entry);
    const offset = await transport.append(entry.topic, 0, theirs);
    await transport.append(topicsOf('two-workers').ledger, 0, encodeLedger({ ...entry, offset, end: offset + 1 }));
    const reading = await consumer('two-workers', 40);
    await assert.rejects(reading.next(), { code: 'foreign-plan' });
    await reading.close();
  });
});

describe('a machine that ended before its disk had all bytes', () => {
  const lossy = smallRecipe({ phases: [{ resolution: 48, epochs: 1, batch: 8 }] });
  let large: string;
  before(async () => {
    large = await packPhotos('48:56');
  });

  /** What `transport` reads of a run whose newest segment lost its second half: it is short, or holds zeros. */
  for (const [name, codes] of [
    ['short', ['record-lost']],
    // Where the loss begins in a record's header or in its images: the lanes' records lie in the order they were made in.
    ['zeros', ['safetensors-damaged', 'digest-mismatch']],
  ] as const)
    it(`names the step whose bytes are lost (${name}), which is then made again`, async () => {
      const folder = join(temporaryFolder(), name);
      let log = await openTransport(`log:${folder}`);
      try {
        const run = { transport: log, run: name, shards: large, recipe: lossy };
        await produceSmall(run);
        const meta = await readMeta(log, name);
        assert.ok(meta);
        await log.close();
        const [file, ...others] = await readdir(join(folder, 'segments'));
        assert.ok(file && others.length === 0);
        const path = join(folder, 'segments', file);
        const { size } = await stat(path);
        await truncate(path, size / 2);
        if (name === 'zeros') await truncate(path, size);

        log = await openTransport(`log:${folder}`);
        const read = async (): Promise<number> => {
          const options = { transport: log, run: name, meta, lanes: [0, 1], fromStep: 0, prefetchBytes: 2 ** 24 };
          const reading = await Consumer.open(options);
          try {
            let steps = 0;
            while (await reading.next()) steps++;
            return steps;
          } finally {
            await reading.close();
          }
        };
        const failure: unknown = await read().catch((error: unknown) => error);
        assert.ok(failure instanceof Fault && codes.some((code) => code === failure.code), String(failure));
        const fromStep = Number(/--from-step (\d+)/.exec(failure.remedy)?.[1]);
        assert.ok(fromStep > 0, failure.remedy);
        await produceSmall({ ...run, transport: log, fromStep });
        assert.equal(await read(), meta.plan.steps);
      } finally {
        await log.close();
      }
    });
});

describe('the window', () => {
  const stepBytes = 8 * 16 * 16 * 3;

  it('holds the producer back until a trainer consumes, keeps what fits, and names what expired', async () => {
    const run = 'windowed';
    const windowBytes = 3 * stepBytes;
    const waits: number[] = [];
    const leads: number[] = [];
    let consumed = -1;
    const advance = async () => {
      consumed += 2;
      await reportProgress(transport, run, { trainer: 't', rank: 0, consumedStep: consumed, checkpointStep: 0 });
    };
    await produceSmall({
      transport,
      run,
      shards,
      recipe,
      windowBytes,
      onEvent: (event) => {
        if (event.kind === 'step') leads.push(event.record.step - consumed);
        if (event.kind !== 'window') return;
        waits.push(event.step);
        if (event.lane === 0) void advance();
      },
    });
    assert.ok(waits.length > 0);
    assert.equal(waits[0], 3);
    assert.ok(Math.max(...leads) <= 3, 'no step leads the trainer by more than the window');
    const { plan } = await metaOf(run);
    const kept = (await transport.ends(topicsOf(run).train(16)))[0];
    assert.ok(kept && kept.begin > 0, 'consumed steps beyond the window were deleted');
    const reading = await consumer(run, 0);
    await assert.rejects(reading.next(), { code: 'step-expired', message: /--from-step 0/ });
    await reading.close();
    assert.ok(plan.steps > consumed);
  });

  it('does not delete later steps that a trainer wants when earlier ones are made again above them', async () => {
    const run = 'made-again';
    const windowBytes = 4 * stepBytes;
    await produceSmall({ transport, run, shards, recipe });
    const reports = (trainer: string, step: number) =>
      reportProgress(transport, run, { trainer, rank: 0, consumedStep: step - 1, checkpointStep: step });
    await reports('ahead', 18);
    await reports('behind', 0);
    let reached = 0;
    await produceSmall({
      transport,
      run,
      shards,
      recipe,
      windowBytes,
      fromStep: 0,
      onEvent: (event) => {
        if (event.kind !== 'window' || event.lane !== 0) return;
        reached += 4;
        void reports('ahead', 18).then(() => reports('behind', Math.min(reached, 18)));
        if (reached >= 18) void reports('ahead', 41).then(() => reports('behind', 41));
      },
    });
    assert.ok(reached >= 18, `the trainers came to step ${reached}`);
    assert.equal((await consumeAll(run, 38)).steps.length, 3);
    const old = await transport.ends(topicsOf(run).train(16));
    for (const { begin, end } of old) assert.equal(begin, end, 'nothing of a finished phase beyond the window stays');
  });

  it('keeps regenerated steps for whoever asked, although every known trainer stands beyond them', async () => {
    const run = 'asked-for';
    const windowBytes = 50 * stepBytes;
    await produceSmall({ transport, run, shards, recipe });
    await reportProgress(transport, run, { trainer: 'done', rank: 0, consumedStep: 40, checkpointStep: 41 });
    for (const [lane, { end }] of (await transport.ends(topicsOf(run).train(16))).entries())
      await transport.deleteBefore(topicsOf(run).train(16), lane, end);
    const expired = await consumer(run, 0);
    await assert.rejects(expired.next(), { code: 'step-expired', message: /--from-step 0/ });
    await expired.close();
    await produceSmall({ transport, run, shards, recipe, windowBytes, fromStep: 0 });
    assert.equal((await consumeAll(run, 0)).steps.length, 41);
    await assert.rejects(produceSmall({ transport, run, shards, recipe, fromStep: 41 }), {
      code: 'nothing-to-regenerate',
    });
  });

  it('lets go of a trainer that will not come back', async () => {
    const run = 'forgetful';
    await produceSmall({ transport, run, shards, recipe });
    for (const trainer of ['dead', 'b', 'c', 'last'])
      await reportProgress(transport, run, { trainer, rank: 0, consumedStep: 0, checkpointStep: 0 });
    await assert.rejects(produceSmall({ transport, run, shards, recipe, forget: ['nobody'] }), {
      code: 'trainer-unknown',
      message: /one of dead, b, c, last/,
    });
    assert.equal((await statusOf(transport, run, await metaOf(run))).trainers.length, 4);
    await produceSmall({ transport, run, shards, recipe, forget: ['last', 'dead', 'b', 'c'] });
    const status = await statusOf(transport, run, await metaOf(run));
    assert.deepEqual([status.trainers, status.complete, status.steps], [[], 41, 41]);
  });
});
