// What every transport must do: the same cases on the embedded log and on a real Kafka broker.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe } from 'node:test';
import type { TestBroker } from '../broker.ts';
import { type FaultyProxy, startProxiedBroker } from '../faults/proxy.ts';
import { requirement } from '../requirements.ts';
import { appends } from './transport/appends.ts';
import { brokerFaults } from './transport/broker-faults.ts';
import { Harness } from './transport/harness.ts';
import { interleavings } from './transport/interleavings.ts';
import { memberships } from './transport/memberships.ts';
import { reads } from './transport/reads.ts';
import { topicSettings } from './transport/topic-settings.ts';
import { topics } from './transport/topics.ts';

function contract(harness: Harness): void {
  afterEach(() => harness.end());
  appends(harness);
  reads(harness);
  topics(harness);
  memberships(harness);
  interleavings(harness);
}

describe('log', () => {
  const harness = new Harness(60);
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'medium-recipe-log-'));
    harness.url = `log:${folder}`;
  });
  contract(harness);
  after(() => rm(folder, { recursive: true, force: true }));
});

describe('kafka', requirement('kafka'), () => {
  const harness = new Harness(4);
  let broker: TestBroker | undefined;
  let proxy: FaultyProxy | undefined;
  before(async () => {
    ({ broker, proxy } = await startProxiedBroker());
    harness.url = broker.transport;
  });
  contract(harness);
  topicSettings(harness);
  brokerFaults(
    harness,
    () => started(broker),
    () => started(proxy),
  );
  after(async () => {
    await proxy?.close();
    await broker?.stop();
  });
});

function started<Part>(part: Part | undefined): Part {
  if (part === undefined) throw new Error('the broker was not started');
  return part;
}
