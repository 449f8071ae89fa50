// Where a process begins in lanes, by their ledgers.

import { Fault } from '#shards';
import { type LaneLedger, openLedgers } from './ledger.ts';
import type { Plan } from './plan.ts';
import type { Extent, Transport } from './transport/transport.ts';

export interface LaneStart {
  readonly ledger: LaneLedger;
  readonly from: number;
}

/** Steps that are made again: in each lane from `from` to its highest. */
export interface Regeneration {
  readonly from: number;
  /** After the highest step of all lanes. */
  readonly to: number;
  readonly lanes: ReadonlyMap<number, LaneStart>;
}

/** For lanes that just came: after their ledgers' highest steps. */
export async function openLanes(
  transport: Transport,
  run: string,
  lanes: readonly number[],
): Promise<Map<number, LaneStart>> {
  const ledgers = await readLedgers(transport, run, lanes);
  const starts = new Map(Array.from(ledgers, ([lane, ledger]) => [lane, { ledger, from: ledger.highestStep + 1 }]));
  await forgetUnretained(transport, starts);
  return starts;
}

/** From here on a lane's ledger grows by what this process appends itself. */
async function readLedgers(
  transport: Transport,
  run: string,
  lanes: readonly number[],
): Promise<Map<number, LaneLedger>> {
  const { ledgers, close } = await openLedgers(transport, run, lanes);
  await close();
  return ledgers;
}

/** @throws Fault `nothing-to-regenerate` where no lane has the step. */
export async function openRegeneration(
  transport: Transport,
  run: string,
  plan: Plan,
  fromStep: number,
): Promise<Regeneration> {
  const lanes = Array.from({ length: plan.lanes }, (_, lane) => lane);
  const ledgers = await readLedgers(transport, run, lanes);
  const highest = Math.max(...Array.from(ledgers.values(), ({ highestStep }) => highestStep));
  if (fromStep > highest)
    throw new Fault({
      code: 'nothing-to-regenerate',
      received: `--from-step ${fromStep}`,
      expected: highest < 0 ? 'a run that has steps' : `a step that some lane has: 0 … ${highest}`,
      remedy: 'leave out --from-step to go on after the ledger',
      exit: 2,
    });
  const starts = new Map(
    Array.from(ledgers, ([lane, ledger]) => [lane, { ledger, from: Math.min(ledger.highestStep + 1, fromStep) }]),
  );
  await forgetUnretained(transport, starts, fromStep);
  return { from: fromStep, to: highest + 1, lanes: starts };
}

/**
 * Drops ledger records of steps that the log no longer holds, so that memory does not grow with the run; not those from
 * `compared` on, which are made again and compared.
 */
async function forgetUnretained(
  transport: Transport,
  starts: ReadonlyMap<number, LaneStart>,
  compared = Number.POSITIVE_INFINITY,
): Promise<void> {
  const extents = new Map<string, Extent[]>();
  for (const topic of new Set([...starts.values()].flatMap(({ ledger }) => ledger.trainTopics)))
    extents.set(topic, await transport.ends(topic));
  for (const [lane, { ledger }] of starts) {
    let retained = compared;
    for (const topic of ledger.trainTopics) {
      const begin = extents.get(topic)?.[lane]?.begin ?? 0;
      retained = Math.min(retained, ledger.firstStepFrom(topic, begin));
    }
    ledger.forgetBelow(Math.min(retained, ledger.highestStep + 1));
  }
}
