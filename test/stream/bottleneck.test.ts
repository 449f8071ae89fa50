import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type StageReport, type StageSums, stageLine, stageReport, sumsSince } from '../../stream/bottleneck.ts';

const sums: StageSums = { images: 100, read: 10, decode: 900, kernel: 400, append: 100, wait: 0 };
const run = { workers: 2, lanes: 1, seconds: 1 };

function reportOf(changes: Partial<StageSums>, how = run): StageReport {
  const report = stageReport({ ...sums, ...changes }, how);
  assert.ok(report);
  return report;
}

describe('what bounds a producer', () => {
  it('is the longest stage of the workers where they are the busiest', () => {
    const report = reportOf({});
    assert.deepEqual(report.msPerImage, { read: 0.1, decode: 9, kernel: 4, wait: 0, append: 1 });
    assert.deepEqual(report.busy, { workers: 0.655, append: 0.1, wait: 0 });
    assert.equal(report.boundBy, 'decode');
    assert.equal(reportOf({ kernel: 901 }).boundBy, 'kernel');
  });

  it('is the append where a lane is in it for longer than a worker works', () => {
    assert.equal(reportOf({ append: 900 }).boundBy, 'append');
    assert.equal(reportOf({ append: 900 }, { ...run, lanes: 4 }).boundBy, 'decode', 'four lanes append at once');
  });

  it('is the wait where the window is full most of the time: the trainers have all they want', () => {
    const report = reportOf({ wait: 800 });
    assert.equal(report.boundBy, 'wait');
    assert.match(stageLine(report), /^ms an image: read 0\.100, .*; bounded by wait \(.*80 %.*not starved\)$/);
  });

  it('is told of the time since it was last told', () => {
    const later = { ...sums, images: 150, decode: 950, kernel: 900 };
    const since = sumsSince(sums, later);
    assert.deepEqual(since, { images: 50, read: 0, decode: 50, kernel: 500, append: 0, wait: 0 });
    assert.equal(stageReport(later, run)?.boundBy, 'decode');
    assert.equal(stageReport(since, run)?.boundBy, 'kernel');
  });

  it('is not known without images', () => {
    assert.equal(stageReport({ ...sums, images: 0 }, run), null);
  });
});
