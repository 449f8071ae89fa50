// Where a run stands: what the ledger holds, how far the trainers are, what the window says.

import { openLedgers } from './ledger.ts';
import type { RunMeta } from './meta.ts';
import { resolutionsOf } from './plan.ts';
import { ProgressWatch, type TrainerProgress } from './progress.ts';
import { topicsOf } from './topics.ts';
import type { Transport } from './transport/transport.ts';
import { bytesOfSteps, floorOf } from './window.ts';

export interface RunStatus {
  readonly run: string;
  readonly planHash: string;
  readonly steps: number;
  /** By lane: how many steps its ledger holds. */
  readonly laneSteps: readonly number[];
  /** Steps that every lane has. */
  readonly complete: number;
  /** Pixel bytes between the slowest trainer and the slowest lane. */
  readonly leadBytes: number;
  readonly trainers: readonly TrainerProgress[];
  /** Records that each topic holds now, all partitions. */
  readonly records: Readonly<Record<string, number>>;
}

export async function statusOf(transport: Transport, run: string, meta: RunMeta): Promise<RunStatus> {
  const { plan, planHash } = meta;
  const topics = topicsOf(run);
  const lanes = Array.from({ length: plan.lanes }, (_, lane) => lane);
  const { ledgers, close } = await openLedgers(transport, run, lanes);
  const laneSteps = lanes.map((lane) => (ledgers.get(lane)?.highestStep ?? -1) + 1);
  await close();
  const watch = await ProgressWatch.open(transport, run);
  const { trainers } = watch;
  await watch.close();
  const complete = Math.min(...laneSteps);
  const records: Record<string, number> = {};
  for (const resolution of resolutionsOf(plan))
    for (const topic of [topics.train(resolution), topics.val(resolution)])
      records[topic] = (await transport.ends(topic)).reduce((sum, { begin, end }) => sum + end - begin, 0);
  return {
    run,
    planHash,
    steps: plan.steps,
    laneSteps,
    complete,
    leadBytes: bytesOfSteps(plan, floorOf(trainers).wanted, complete),
    trainers,
    records,
  };
}
