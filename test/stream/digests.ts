// The digests of a run's ledger.

import assert from 'node:assert/strict';
import type { LedgerRecord } from '../../stream/ledger.ts';
import { topicsOf } from '../../stream/topics.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { recordsOf } from './producing.ts';

/** The digest of each (topic, lane, step) that a run's ledger names; every copy of a step has the same one. */
export async function ledgerDigests(transport: Transport, run: string): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  for (const value of (await recordsOf(transport, topicsOf(run).ledger)).flat()) {
    const { topic, lane, step, digest } = JSON.parse(value.toString()) as LedgerRecord;
    const key = `${topic.slice(run.length + 1)}/${lane}/${step}`;
    assert.equal(digests.get(key) ?? digest, digest, key);
    digests.set(key, digest);
  }
  return digests;
}
