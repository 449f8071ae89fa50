// The soak's own parts: its faults are a function of the seed, and growing memory is told from flat memory.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Memory } from './soak/memory.ts';
import { schedule } from './soak/schedule.ts';

const HALF_AN_HOUR = { seconds: 1800, producers: 3, readers: 2 };

describe('the schedule of a soak', () => {
  it('is the same for a seed, and another for another', () => {
    assert.deepEqual(schedule({ seed: 1, ...HALF_AN_HOUR }), schedule({ seed: 1, ...HALF_AN_HOUR }));
    assert.notDeepEqual(schedule({ seed: 1, ...HALF_AN_HOUR }), schedule({ seed: 2, ...HALF_AN_HOUR }));
  });

  it('has every kind of fault in half an hour, in order, of processes that exist, with a lull at the end', () => {
    const faults = schedule({ seed: 1, ...HALF_AN_HOUR });
    assert.equal(new Set(faults.map(({ kind }) => kind)).size, 8);
    assert.deepEqual(
      faults,
      faults.toSorted((a, b) => a.at - b.at),
    );
    for (const { at, kind, which, seconds } of faults) {
      assert.ok(at >= 10 && at < 1780 && seconds >= 1 && seconds <= 12);
      assert.ok(which < (kind.endsWith('reader') ? 2 : 3));
      assert.ok(which > 0 || !/kill-(producer|reader)/.test(kind), 'the first of them lives to the end');
    }
  });
});

describe('the memory of a soak', () => {
  const judged = (mb: (at: number) => number) => {
    const memory = new Memory();
    for (let at = 0; at < 400; at++) memory.note('producer', { at, mb: mb(at) });
    return memory.judge(0, 400)[0];
  };

  it('is flat where it grows at first only, and swings', () => {
    const memory = judged((at) => 100 + Math.min(50, at) + (at % 7));
    assert.deepEqual([memory?.flat, memory?.secondQuarterMb, memory?.lastQuarterMb], [true, 153, 153]);
  });

  it('of a process that was started again is shown, and not judged', () => {
    const memory = new Memory();
    for (let at = 0; at < 400; at++) memory.note('reader', { at, mb: 100 + at / 4 });
    memory.restarted('reader');
    assert.equal(memory.judge(0, 400)[0]?.flat, null);
  });

  it('is not flat where it grows all the time, nor where nothing was seen', () => {
    assert.equal(judged((at) => 100 + at / 4)?.flat, false);
    const memory = new Memory();
    memory.note('reader', { at: 10, mb: 1 });
    assert.equal(memory.judge(0, 400)[0]?.flat, false);
  });
});
