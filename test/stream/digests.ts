// The digests of a run's ledger.

import type { LedgerRecord } from '../../stream/ledger.ts';
import { topicsOf } from '../../stream/topics.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { recordsOf } from './producing.ts';

/** `TOPIC LANE STEP DIGEST` of all steps, the run's name left out, sorted; a step that was written twice counts once. */
export async function digestsOf(transport: Transport, run: string): Promise<string[]> {
  const ledger = await recordsOf(transport, topicsOf(run).ledger);
  const digests = ledger.flat().map((value) => {
    const { topic, lane, step, digest } = JSON.parse(value.toString()) as LedgerRecord;
    return `${topic.slice(run.length)} ${lane} ${step} ${digest}`;
  });
  return [...new Set(digests)].sort();
}
