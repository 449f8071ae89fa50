// What Kafka's performance tools print, as 4.3.1 does, is understood, or refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#shards';
import { fetchSeconds, steadySeconds } from '../../../ops/bench/kafka-contenders.ts';

const unequal = (error: unknown) => error instanceof Fault && error.code === 'unequal-work';

test('ProducerPerformance: the records after the warm-up, and all that were asked for', () => {
  const stdout = `Warmup first 100 records. Steady state results will print after the complete test summary.
700 records sent, 294.985251 records/sec (281.32 MB/sec), 92.41 ms avg latency, 322.00 ms max latency, 91 ms 50th, 124 ms 95th, 128 ms 99th, 322 ms 99.9th.
600 steady state records sent, 333.333333 records/sec (317.89 MB/sec), 89.84 ms avg latency, 131.00 ms max latency, 89 ms 50th, 115 ms 95th, 126 ms 99th, 131 ms 99.9th.
`;
  assert.ok(Math.abs(steadySeconds(stdout, 600) - 1.8) < 1e-6);
  assert.throws(() => steadySeconds(stdout, 700), unequal);
  assert.throws(() => steadySeconds('', 600), unequal);
});

test('ConsumerPerformance: the time of fetching, a record asked for', () => {
  const line = (records: number) =>
    `2026-11-23 16:01:24:995, 2026-11-23 16:01:28:344, 1436.2335, 428.8544, ${records}, 449.6865, 479, 3000, 500.4298, 524.7387\n`;
  assert.equal(fetchSeconds(line(1500), 1500), 3);
  assert.equal(fetchSeconds(line(2000), 1500), 2.25, 'it takes what the last fetch brought');
  assert.throws(() => fetchSeconds(line(1499), 1500), unequal);
  assert.throws(() => fetchSeconds('', 1500), unequal);
});
