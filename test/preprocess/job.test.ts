import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '#shards';
import { groupsOf, type Job, mustBeSameJob, positionsOf, wholeOf } from '../../preprocess/job.ts';

function jobOf(train: number, val: number, shardSamples: number): Job {
  return {
    classes: [{ index: 0, wnid: 'cat' }],
    sources: { train: { count: train, sha256: 'a' }, val: { count: val, sha256: 'b' } },
    buckets: [{ resolution: 128, shortSide: 160 }],
    seed: 0,
    shardSamples,
    fingerprint: { versions: { sharp: '1' }, arch: 'x64', resize: { quality: 90 } },
  };
}

test('the parts of any number of machines are the groups, each once, and none is much larger than another', () => {
  fc.assert(
    fc.property(fc.nat(500), fc.nat(100), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 9 }), (...n) => {
      const [train, val, shardSamples, of] = n;
      const job = jobOf(train, val, shardSamples);
      const parts = Array.from({ length: of }, (_, i) => groupsOf({ ...job, part: { index: i + 1, of } }));
      const names = (groups: ReturnType<typeof groupsOf>) =>
        groups.map(({ split, ordinal }) => `${split}-${ordinal}`).sort();
      assert.deepEqual(names(parts.flat()), names(groupsOf(job)));
      const sizes = parts.map(({ length }) => length);
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
    }),
  );
});

test('the groups of a split hold its positions, each once and in order', () => {
  fc.assert(
    fc.property(fc.nat(500), fc.integer({ min: 1, max: 40 }), (train, shardSamples) => {
      const job = jobOf(train, 0, shardSamples);
      let next = 0;
      for (const group of groupsOf(job)) {
        const { begin, end } = positionsOf(job, group);
        assert.equal(begin, next);
        assert.ok(end > begin && end - begin <= shardSamples);
        next = end;
      }
      assert.equal(next, train);
    }),
  );
});

test('another job is refused by the first key that differs, with the remedy that fits', () => {
  const job = jobOf(10, 2, 4);
  const refusal = (other: Job): { received: string; remedy: string } => {
    try {
      mustBeSameJob(job, other, 'job.json');
    } catch (error) {
      assert.ok(error instanceof Fault && error.code === 'job-differs');
      return error;
    }
    throw new Error('was not refused');
  };
  assert.equal(refusal({ ...job, seed: 1 }).received, 'seed 1');
  assert.equal(refusal({ ...job, part: { index: 1, of: 2 } }).received, 'part {"index":1,"of":2}');
  const sources = { ...job.sources, train: { count: 11, sha256: 'c' } };
  const { received, remedy } = refusal({ ...job, sources });
  assert.equal(received, 'sources.train.count 11');
  assert.match(remedy, /source folder has changed/);
  const fingerprint = { ...job.fingerprint, versions: { sharp: '2' } };
  assert.equal(refusal({ ...job, fingerprint }).received, 'fingerprint.versions.sharp "2"');
  mustBeSameJob(job, wholeOf({ ...job, part: { index: 1, of: 2 } }), 'job.json');
});
