// What a reader gets of a run: a hash of each (step, lane) and of each val split, and what the ledger says of them.

import assert from 'node:assert/strict';
import { createHash, type Hash } from 'node:crypto';
import { type ConsumeCounters, Consumer } from '../../stream/consumer.ts';
import type { LedgerRecord } from '../../stream/ledger.ts';
import { readMeta } from '../../stream/meta.ts';
import { resolutionsOf } from '../../stream/plan.ts';
import type { RecordTensors } from '../../stream/record.ts';
import { topicsOf } from '../../stream/topics.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { recordsOf } from '../stream/producing.ts';

export interface Delivered {
  /** 'step S, lane L' and 'val R' → sha256 of everything that was read there. */
  readonly hashes: Readonly<Record<string, string>>;
  readonly counters: ConsumeCounters;
}

function add(hash: Hash, { labelA, labelB, lam, sample, images }: RecordTensors): void {
  for (const { buffer, byteOffset, byteLength } of [labelA, labelB, lam, sample, images])
    hash.update(Buffer.from(buffer, byteOffset, byteLength));
}

/** Reads a run, the whole or its first `steps`; every step comes once, in order, with every lane. */
export async function delivered(transport: Transport, run: string, steps?: number): Promise<Delivered> {
  const meta = await readMeta(transport, run);
  assert.ok(meta);
  const lanes = Array.from({ length: meta.plan.lanes }, (_, lane) => lane);
  const consumer = await Consumer.open({ transport, run, meta, lanes, fromStep: 0, prefetchBytes: 2 ** 25 });
  const hashes: Record<string, string> = {};
  try {
    for (let step = 0; step < (steps ?? meta.plan.steps); step++) {
      const slices = await consumer.next();
      assert.deepEqual(
        slices?.map((slice) => [slice.step, slice.lane]),
        lanes.map((lane) => [step, lane]),
      );
      for (const { lane, chunks, release } of slices ?? []) {
        const hash = createHash('sha256');
        for (const chunk of chunks) add(hash, chunk);
        hashes[`step ${step}, lane ${lane}`] = hash.digest('hex');
        release();
      }
    }
    if (steps === undefined) assert.equal(await consumer.next(), null);
    for (const resolution of resolutionsOf(meta.plan)) {
      const hash = createHash('sha256');
      for await (const chunk of consumer.evaluation(resolution)) add(hash, chunk);
      hashes[`val ${resolution}`] = hash.digest('hex');
    }
    return { hashes, counters: { ...consumer.counters } };
  } finally {
    await consumer.close();
  }
}

/** Every ledger record as 'topic, lane, step, digest', sorted, without the run's name; twice what is there twice. */
export async function ledgerOf(transport: Transport, run: string): Promise<string[]> {
  const records = await recordsOf(transport, topicsOf(run).ledger);
  return records
    .flat()
    .map((value) => {
      const { topic, lane, step, digest } = JSON.parse(value.toString()) as LedgerRecord;
      return `${topic.slice(run.length + 1)}, lane ${lane}, step ${step}: ${digest}`;
    })
    .sort();
}
