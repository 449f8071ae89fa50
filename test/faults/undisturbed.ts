// What a run must be, whatever happens to it: the same plan made in peace, in an embedded log of its own.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Consumer, type LaneStep } from '../../stream/consumer.ts';
import { StepDigest } from '../../stream/ledger.ts';
import { readMeta } from '../../stream/meta.ts';
import type { Plan } from '../../stream/plan.ts';
import type { Recipe } from '../../stream/recipe.ts';
import { openTransport } from '../../stream/transport/index.ts';
import { temporaryFolder } from '../packed.ts';
import { ledgerDigests } from '../stream/digests.ts';
import { produceSmall } from '../stream/producing.ts';

export interface Undisturbed {
  readonly plan: Plan;
  /** TOPIC/LANE/STEP, the run's name left out → digest of the record bytes, val included. */
  readonly digests: ReadonlyMap<string, string>;
  /** LANE/STEP → hash of the tensors as a trainer gets them. */
  readonly contents: ReadonlyMap<string, string>;
}

const hasher = new StepDigest();

/** Of what a trainer would train on: samples, labels, λ and pixels of the lane's chunks in order. */
export function contentOf({ chunks }: Pick<LaneStep, 'chunks'>): string {
  hasher.begin();
  for (const { sample, labelA, labelB, lam, images } of chunks)
    for (const { buffer, byteOffset, byteLength } of [sample, labelA, labelB, lam, images])
      hasher.add(new Uint8Array(buffer, byteOffset, byteLength));
  return hasher.end();
}

export async function undisturbed(shards: string, recipe: Recipe): Promise<Undisturbed> {
  const run = 'undisturbed';
  const transport = await openTransport(`log:${join(temporaryFolder(), 'undisturbed')}`);
  try {
    await produceSmall({ transport, run, shards, recipe });
    const meta = await readMeta(transport, run);
    assert.ok(meta);
    const { plan } = meta;
    const lanes = Array.from({ length: plan.lanes }, (_, lane) => lane);
    const consumer = await Consumer.open({ transport, run, meta, lanes, fromStep: 0, prefetchBytes: 2 ** 22 });
    const contents = new Map<string, string>();
    for (let step = await consumer.next(); step; step = await consumer.next())
      for (const laneStep of step) contents.set(`${laneStep.lane}/${laneStep.step}`, contentOf(laneStep));
    await consumer.close();
    assert.equal(contents.size, plan.steps * plan.lanes);
    return { plan, digests: await ledgerDigests(transport, run), contents };
  } finally {
    await transport.close();
  }
}
