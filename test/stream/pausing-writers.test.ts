// Law 3 under any order of events: several writers of one lane, each paused at will between two appends, killed, started anew, or
// told of another place than its record's first, as when an acknowledgement was lost. Real writers, log and reader.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { Consumer } from '../../stream/consumer.ts';
import { openLanes } from '../../stream/lane-starts.ts';
import { writeLane } from '../../stream/lane-writer.ts';
import { type LedgerRecord, StepDigest } from '../../stream/ledger.ts';
import { META_FORMAT, type RunMeta } from '../../stream/meta.ts';
import { type Plan, planHashOf, trainHashOf } from '../../stream/plan.ts';
import { allocateRecord, type RecordId } from '../../stream/record.ts';
import type { ChunkTask } from '../../stream/render.ts';
import { topicSpecs, topicsOf } from '../../stream/topics.ts';
import { openTransport } from '../../stream/transport/index.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { temporaryFolder } from '../packed.ts';
import { smallPlan, smallRecipe } from './fixtures.ts';
import { recordsOf } from './producing.ts';

/** Samples of a step's chunks. */
const SIZES = [3, 3, 2];
const CHUNKS = SIZES.length;
const WRITERS = 3;
const settings = { lanes: 1, phases: [{ resolution: 16, epochs: 1, batch: 8 }] };
const plan: Plan = smallPlan(settings);
const planHash = planHashOf(plan);

/** Chunk `chunk` of a step, with bytes of its own. */
function recordOf(id: RecordId): Uint8Array<ArrayBuffer> {
  const { bytes, tensors } = allocateRecord(id, SIZES[id.chunk] as number);
  tensors.sample.set([id.step * CHUNKS + id.chunk, id.step]);
  tensors.images.fill(id.step * 16 + id.chunk);
  return bytes;
}

const task = (step: number, chunk: number): ChunkTask =>
  ({
    id: { plan: planHash, split: 'train', epoch: 0, step, lane: 0, chunk, chunks: CHUNKS, resolution: 16 },
    samples: Array.from({ length: SIZES[chunk] as number }),
  }) as unknown as ChunkTask;

/** A writer that does one append for each `permit`, and none without. */
class Writer {
  readonly #transport: Transport;
  readonly #killed = new AbortController();
  #permits: ((doubled: boolean) => Promise<void>)[] = [];
  /** Resolves when the writer ended, or never where it was killed. */
  ended: Promise<boolean> = Promise.resolve(false);
  done = false;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async start(run: string): Promise<void> {
    const transport: Transport = Object.assign(Object.create(this.#transport) as Transport, {
      append: (topic: string, lane: number, value: Uint8Array) => this.#append(topic, lane, value),
      ends: (topic: string) => this.#transport.ends(topic),
      deleteBefore: async () => {},
    });
    const start = (await openLanes(this.#transport, run, [0])).get(0);
    assert.ok(start);
    this.ended = writeLane(
      {
        transport,
        topics: topicsOf(run),
        plan,
        lane: 0,
        ledger: start.ledger,
        digest: new StepDigest(),
        tasks: { train: (step) => Array.from({ length: CHUNKS }, (_, chunk) => task(step, chunk)), val: () => [] },
        render: async ({ id }) => ({ bytes: recordOf(id), decoders: {}, replaced: [], release: () => {} }),
        gate: { admits: () => true, wait: async () => {}, keepFrom: () => 0 },
        aheadBytes: 1,
        aheadSteps: 1,
        signal: this.#killed.signal,
        onStep: () => {},
        onAppend: () => {},
        onReplaced: () => {},
      },
      start.from,
      plan.steps,
    );
    void this.ended.then((done) => {
      this.done = done;
    });
  }

  #append(topic: string, lane: number, value: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#permits.push(async (doubled) => {
        const first = this.#transport.append(topic, lane, value);
        // A lost acknowledgement: the record is appended again, and only the second place is known.
        const last = doubled ? first.then(() => this.#transport.append(topic, lane, value)) : first;
        last.then(resolve, reject);
        await last;
      });
    });
  }

  /** The next append, once the writer comes to one; nothing where it has ended. */
  async permit(doubled: boolean): Promise<void> {
    for (let turn = 0; this.#permits.length === 0 && !this.done; turn++) {
      assert.ok(turn < 1000, 'a writer that is neither at an append nor at the end');
      await new Promise(setImmediate);
    }
    await this.#permits.shift()?.(doubled);
  }

  kill(): void {
    this.#permits = [];
    this.#killed.abort();
  }
}

const event = fc.oneof(
  { weight: 8, arbitrary: fc.record({ what: fc.constant('append' as const), who: fc.nat(WRITERS - 1) }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('doubled append' as const), who: fc.nat(WRITERS - 1) }) },
  // Kills the writer that has this number, if there is one, and starts another, which reads the ledger as it is now.
  { weight: 1, arbitrary: fc.record({ what: fc.constant('start' as const), who: fc.nat(WRITERS - 1) }) },
);

describe('writers of one lane that are paused, killed and doubled at will', () => {
  let transport: Transport;
  let runs = 0;
  before(async () => {
    transport = await openTransport(`log:${join(temporaryFolder(), 'log')}`);
  });
  after(() => transport.close());

  async function beginRun(): Promise<string> {
    const run = `model-${runs++}`;
    await transport.createTopics(topicSpecs(run, plan, 2 ** 30));
    return run;
  }

  const openConsumer = (run: string) =>
    Consumer.open({
      transport,
      run,
      meta: {
        ...{ format: META_FORMAT, planHash, trainHash: trainHashOf(smallRecipe(settings)), plan, fingerprint: '' },
        ...{ recipe: smallRecipe(settings), dataset: { ...plan.dataset, classes: [] } },
      } satisfies RunMeta,
      lanes: [0],
      fromStep: 0,
      prefetchBytes: 1,
    });

  /** Every step once and in order, each with its own bytes. */
  async function checkAll(reading: Consumer): Promise<void> {
    for (let step = 0; step < plan.steps; step++) {
      const [lane] = (await reading.next()) ?? [];
      assert.equal(lane?.step, step);
      for (const [chunk, { sample, images }] of lane.chunks.entries()) {
        assert.deepEqual([...sample.subarray(0, 2)], [step * CHUNKS + chunk, step]);
        assert.ok(images.every((pixel) => pixel === step * 16 + chunk));
      }
      assert.equal(lane.chunks.length, CHUNKS);
      lane.release();
    }
    assert.equal(await reading.next(), null);
    await reading.close();
  }

  it('the stream is every step once, in order and to the bit, for one who reads along and for one who comes later', async () => {
    let skipped = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 5, maxLength: 60 }), async (events) => {
        const run = await beginRun();
        const along = await openConsumer(run);
        const readAlong = checkAll(along);
        readAlong.catch(() => {});
        const writers = new Map<number, Writer>();
        for (const { what, who } of events) {
          if (what === 'start' || !writers.has(who)) {
            writers.get(who)?.kill();
            const writer = new Writer(transport);
            await writer.start(run);
            writers.set(who, writer);
          }
          if (what !== 'start') await writers.get(who)?.permit(what === 'doubled append');
        }
        // One comes to the end; the others are paused for ever.
        const last = new Writer(transport);
        await last.start(run);
        while (!last.done) await last.permit(false);
        await readAlong;
        const late = await openConsumer(run);
        await checkAll(late);
        skipped += late.counters.skipped;

        const [ledger = []] = await recordsOf(transport, topicsOf(run).ledger);
        const digests = new Map<string, string>();
        for (const value of ledger) {
          const { topic, step, digest } = JSON.parse(value.toString()) as LedgerRecord;
          assert.equal(digests.get(`${topic} ${step}`) ?? digest, digest);
          digests.set(`${topic} ${step}`, digest);
        }
        await transport.deleteTopics([...topicSpecs(run, plan, 1).map(({ name }) => name)]);
      }),
      { numRuns: 60 },
    );
    assert.ok(skipped > 0, 'second copies were met');
  });
});
