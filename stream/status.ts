// Where a run stands: what the ledger holds, who writes it, how far the trainers are, and who waits for whom.

import { setTimeout as sleep } from 'node:timers/promises';
import { openLedgers } from './ledger.ts';
import type { RunMeta } from './meta.ts';
import { type Plan, placeOf, resolutionsOf } from './plan.ts';
import { type ProducerAbout, parseAbout } from './producer-about.ts';
import { ProgressWatch, type TrainerProgress } from './progress.ts';
import { topicsOf } from './topics.ts';
import type { Transport } from './transport/transport.ts';
import { bytesOfSteps, floorOf } from './window.ts';

export interface ProducerStatus extends ProducerAbout {
  readonly lanes: readonly number[];
}

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
  /** The producers' bound of that lead; null where none runs. */
  readonly windowBytes: number | null;
  readonly producers: readonly ProducerStatus[];
  /** Producers that have not been given lanes yet: one came or went a moment ago. */
  readonly joining: number;
  /** Unfinished lanes that no producer owns. */
  readonly unowned: readonly number[];
  readonly trainers: readonly TrainerProgress[];
  /** What the slowest trainer waits for: the step that it wants next, and the lanes that lack it. Null where it is there. */
  readonly awaited: { readonly trainer: string; readonly step: number; readonly lanes: readonly number[] } | null;
  /** Images a second, appended by all producers and consumed by the slowest trainer; null where it was not measured. */
  readonly rates: { readonly produced: number; readonly consumed: number } | null;
  /** Records that each topic holds now, all partitions. */
  readonly records: Readonly<Record<string, number>>;
}

/** `rateMs`: how long rates are measured; 0 for not at all. */
export async function statusOf(
  transport: Transport,
  run: string,
  { plan, planHash }: RunMeta,
  rateMs = 0,
): Promise<RunStatus> {
  const topics = topicsOf(run);
  const laneSteps = await laneStepsOf(transport, run, plan);
  const complete = Math.min(...laneSteps);
  const watch = await ProgressWatch.open(transport, run);
  try {
    const rates = rateMs > 0 ? await ratesOf(transport, run, plan, watch, rateMs) : null;
    const { trainers } = watch;
    const floor = floorOf(trainers);
    const members = await transport.members(topics.producers);
    const producers = members.flatMap(({ about, partitions }) =>
      about === null ? [] : [{ ...parseAbout(about), lanes: partitions }],
    );
    const owned = new Set(producers.flatMap(({ lanes }) => lanes));
    const lacking = laneSteps.flatMap((held, lane) => (held <= floor.wanted ? [lane] : []));
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
      leadBytes: bytesOfSteps(plan, floor.wanted, complete),
      windowBytes: producers.length > 0 ? Math.max(...producers.map(({ windowBytes }) => windowBytes)) : null,
      producers,
      joining: members.length - producers.length,
      unowned: laneSteps.flatMap((held, lane) => (held < plan.steps && !owned.has(lane) ? [lane] : [])),
      trainers,
      awaited:
        floor.slowest !== null && floor.wanted < plan.steps && lacking.length > 0
          ? { trainer: floor.slowest, step: floor.wanted, lanes: lacking }
          : null,
      rates,
      records,
    };
  } finally {
    await watch.close();
  }
}

async function laneStepsOf(transport: Transport, run: string, plan: Plan): Promise<number[]> {
  const lanes = Array.from({ length: plan.lanes }, (_, lane) => lane);
  // Only how far they are is of use here: no step's record is kept.
  const { ledgers, close } = await openLedgers(transport, run, lanes, plan.steps);
  await close();
  return lanes.map((lane) => (ledgers.get(lane)?.highestStep ?? -1) + 1);
}

async function ratesOf(
  transport: Transport,
  run: string,
  plan: Plan,
  watch: ProgressWatch,
  ms: number,
): Promise<{ produced: number; consumed: number }> {
  const look = async () => ({
    at: performance.now(),
    ends: (await transport.ends(topicsOf(run).ledger)).reduce((sum, { end }) => sum + end, 0),
    wanted: floorOf(watch.trainers).wanted,
  });
  const first = await look();
  await sleep(ms);
  const last = await look();
  const { phase } = placeOf(plan, Math.min(last.wanted, plan.steps - 1));
  const seconds = (last.at - first.at) / 1000;
  return {
    produced: ((last.ends - first.ends) * phase.batch) / plan.lanes / seconds,
    consumed: ((last.wanted - first.wanted) * phase.batch) / seconds,
  };
}
