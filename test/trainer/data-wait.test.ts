// Whether the trainer is starved and by what, from how its waits grow.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DataReport, DataWait, dataLine } from '../../trainer/data-wait.ts';

type Wait = readonly [waitMs: number, unwrittenMs: number];

/** Steps of 100 ms, each with its wait and the part of it before the step was written. */
function reportOf(...waits: readonly Wait[]): DataReport | null {
  const feed = { waitMs: 7000, unwrittenMs: 5000 };
  const data = new DataWait(feed);
  for (const [waitMs, unwrittenMs] of waits) {
    feed.waitMs += waitMs;
    feed.unwrittenMs += unwrittenMs;
    data.add(100);
  }
  return data.report();
}

const lineOf = (...waits: readonly Wait[]) => dataLine(reportOf(...waits) ?? assert.fail('no report'));

test('the first batch is no share of the steps’ time, but is told', () => {
  assert.deepEqual(reportOf([90, 80], [2, 0], [0, 0]), {
    waited: 0.01,
    producers: 0,
    reading: 0.01,
    firstMs: 90,
    starvedBy: null,
  });
  assert.match(
    lineOf([2400, 0], [2, 2]),
    /^data: waited 2 % of the steps' time: not starved; first batch after 2\.4 s$/,
  );
});

test('before the second step there is no share to tell', () => {
  assert.equal(reportOf(), null);
  assert.equal(reportOf([90, 0]), null);
});

test('who had not done their part starves the trainer', () => {
  assert.equal(reportOf([0, 0], [40, 39], [10, 10])?.starvedBy, 'producers');
  assert.equal(reportOf([0, 0], [40, 1], [10, 0])?.starvedBy, 'reading');
  assert.match(
    lineOf([0, 0], [41, 39]),
    /waited 41 % .*\(39 % for producers, 2 % for reading\): starved by the producers/,
  );
  assert.match(lineOf([0, 0], [41, 0]), /\(0 % for producers, 41 % for reading\): starved by reading the log/);
});

test('the share since it was last asked begins anew', () => {
  const feed = { waitMs: 0, unwrittenMs: 0 };
  const data = new DataWait(feed);
  data.add(50);
  feed.waitMs += 25;
  data.add(50);
  assert.equal(data.recent(), 0.25);
  data.add(50);
  assert.equal(data.recent(), 0);
  assert.equal(data.recent(), 0);
});
