// Ranks that meet, all in this process: what one of them meets with, all come to know.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#shards';
import type { Collective } from '../../../trainer/ranks/collective.ts';
import { Meeting, type Word } from '../../../trainer/ranks/meeting.ts';

/** Collectives of ranks that share a process: only what waits without holding the thread. */
function collectivesOf(ranks: number): { collectives: Collective[]; ended: number[] } {
  const ended: number[] = [];
  let round: { own: Uint8Array; all: Uint8Array; done(): void }[] = [];
  const holds = () => assert.fail('would hold the thread of all ranks');
  const collectives = Array.from(
    { length: ranks },
    (_, rank): Collective => ({
      rank,
      ranks,
      gather: holds,
      broadcast: holds,
      gatherLater: (own, all) =>
        new Promise((done) => {
          assert.equal(round[rank], undefined, 'one at a time');
          round[rank] = { own, all, done };
          if (Object.keys(round).length < ranks) return;
          const whole = Buffer.concat(round.map((each) => each.own));
          for (const each of round.splice(0)) {
            each.all.set(whole);
            each.done();
          }
          round = [];
        }),
      end: () => ended.push(rank),
    }),
  );
  return { collectives, ended };
}

const never = new AbortController().signal;
const forEver = new Promise<Word>(() => {});
const at = (step: number): Word => ({ agree: { step } });
const soon = (word: Word, ms: number) => new Promise<Word>((resolve) => setTimeout(() => resolve(word), ms));

/** Each rank's work, through a meeting of its own; what each ends with, its Fault's code and text if it fails. */
async function ends(...works: ((meeting: Meeting) => Promise<unknown>)[]): Promise<unknown[]> {
  const { collectives, ended } = collectivesOf(works.length);
  const outcomes = await Promise.all(
    works.map(async (work, rank) => {
      const meeting = new Meeting(collectives[rank] as Collective);
      const [outcome] = await Promise.allSettled([meeting.through(() => work(meeting))]);
      if (outcome.status === 'fulfilled') return outcome.value;
      assert.ok(outcome.reason instanceof Error);
      return outcome.reason instanceof Fault ? `${outcome.reason.code}: ${outcome.reason.received}` : outcome.reason;
    }),
  );
  assert.deepEqual(ended.sort(), [...works.keys()], 'all ranks end together');
  return outcomes;
}

test('all words are heard in rank order once the last rank is ready, and who was late is known', async () => {
  const late: (readonly number[])[] = [];
  const words = await ends(
    async (meeting) => {
      const timer = setInterval(() => meeting.absent.length > 0 && late.push(meeting.absent), 5);
      const heard = await meeting.meet(Promise.resolve({ agree: { step: 3 }, tell: { from: 'zero' } }), never);
      clearInterval(timer);
      return heard?.map(({ tell }) => tell?.['from']);
    },
    async (meeting) =>
      (await meeting.meet(soon({ agree: { step: 3 }, tell: { from: 'one' } }, 150), never))?.map(
        ({ tell }) => tell?.['from'],
      ),
  );
  assert.deepEqual(words, [
    ['zero', 'one'],
    ['zero', 'one'],
  ]);
  assert.ok(late.length > 0 && late.every((ranks) => ranks.join() === '1'), JSON.stringify(late));
});

test('a rank that is told to stop stops all, though another waits for data for ever; then they can still meet', async () => {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 50);
  const rank = (word: Promise<Word>, signal: AbortSignal) => async (meeting: Meeting) => {
    const first = await meeting.meet(word, signal);
    const next = await meeting.meet(Promise.resolve(at(7)), never);
    return [first, meeting.stopped, next?.length];
  };
  assert.deepEqual(
    await ends(rank(Promise.resolve(at(6)), never), rank(forEver, stop.signal), rank(forEver, never)),
    Array(3).fill([null, true, 3]),
  );
});

test('a rank that fails, waiting or between two meetings, ends all with its name', async () => {
  const fault = new Fault({ code: 'step-expired', received: 'lane 2', expected: 'a step', remedy: 'none' });
  const failing = [
    async (meeting: Meeting) => meeting.meet(Promise.reject(fault), never),
    async () => Promise.reject(fault),
  ];
  for (const fails of failing)
    assert.deepEqual(await ends(async (meeting) => meeting.meet(forEver, never), fails), [
      'rank-failed: rank 1 ended with step-expired: lane 2',
      'step-expired: lane 2',
    ]);
});

test('ranks that disagree all end with the first key that differs', async () => {
  const rank = (word: Word) => (meeting: Meeting) => meeting.meet(Promise.resolve(word), never);
  const start = (lr: number) => ({ agree: { recipe: { groups: 4, optimizer: { lr } }, step: 0 } });
  assert.deepEqual(
    await ends(rank(start(0.1)), rank(start(0.1)), rank(start(0.2))),
    Array(3).fill('ranks-disagree: rank 2: recipe.optimizer.lr = 0.2'),
  );
  assert.deepEqual(await ends(rank(at(4)), rank(at(5))), Array(2).fill('ranks-disagree: rank 1: step = 5'));
});

test('a rank that has ended before the others is a disagreement, not a wait', async () => {
  assert.deepEqual(
    await ends(
      async () => 'done',
      (meeting) => meeting.meet(forEver, never),
    ),
    ['done', 'ranks-disagree: rank 0 at its end'],
  );
});
