// How members share a topic's partitions.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Member, Membership, Transport } from '../../../stream/transport/index.ts';
import { type Harness, isFault, numbers } from './harness.ts';

interface Joined {
  readonly membership: Membership;
  owned: ReadonlySet<number>;
  /** What it was told, each time. */
  readonly told: number[][];
}

/** Long enough for a session to expire and a group to share out anew, on a slow machine. */
const PATIENCE_MS = 60_000;

async function join(transport: Transport, topic: string, about: string): Promise<Joined> {
  const told: number[][] = [];
  let owned: ReadonlySet<number> = new Set();
  const membership = await transport.join({
    topic,
    group: `${topic}.group`,
    about,
    onOwned: (now) => {
      owned = now;
      told.push([...now].sort());
    },
    onFailure: (error) => {
      throw error;
    },
  });
  return {
    membership,
    told,
    get owned() {
      return owned;
    },
  };
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !(await condition()); await sleep(20))
    if (Date.now() > end) assert.fail(`not within ${PATIENCE_MS / 1000} s: ${what}`);
}

const partitionsOf = (members: readonly Joined[]): number[] =>
  members.flatMap(({ owned }) => [...owned]).sort((a, b) => a - b);

export function memberships(harness: Harness): void {
  test('members share all partitions; who comes gets a share, who leaves gives it up', async () => {
    const name = await harness.topic(await harness.open(), { partitions: 4 });
    const first = await join(await harness.open(), name, 'one');
    await until(() => first.owned.size === 4, 'the only member owns all');
    const second = await join(await harness.open(), name, 'two');
    await until(() => first.owned.size === 2 && second.owned.size === 2, 'two members own two each');
    assert.deepEqual(partitionsOf([first, second]), numbers(4));
    await second.membership.leave();
    await until(() => first.owned.size === 4, 'the one that stayed owns all again');
    assert.deepEqual(first.told.at(-1), numbers(4));
    await second.membership.leave();
    await first.membership.leave();
  });

  test('anybody can see who owns what, and members beyond the partitions own none', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport, { partitions: 2 });
    const members: Joined[] = [];
    for (const about of ['a', 'b', 'c']) members.push(await join(await harness.open(), name, about));
    let seen: Member[] = [];
    await until(async () => {
      seen = await transport.members(`${name}.group`);
      const shares = seen.map(({ partitions }) => partitions.length);
      return seen.every(({ about }) => about !== null) && shares.sort().join() === '0,1,1';
    }, 'two of three members own a partition each');
    assert.deepEqual(seen.map(({ about }) => about).sort(), ['a', 'b', 'c']);
    await until(() => members.every(({ told }) => told.length > 0), 'each is told, also of nothing');
    await until(() => partitionsOf(members).join() === '0,1', 'each partition has one owner');
    for (const { membership } of members) await membership.leave();
    await until(async () => (await transport.members(`${name}.group`)).length === 0, 'nobody is left');
  });

  test('a transport that closes leaves its groups', async () => {
    const transport = await harness.open();
    const name = await harness.topic(transport, { partitions: 2 });
    const leaving = await harness.open();
    const gone = await join(leaving, name, 'gone');
    await until(() => gone.owned.size === 2, 'it owns all');
    await leaving.close();
    const next = await join(transport, name, 'next');
    await until(() => next.owned.size === 2, 'the next owns all');
    await next.membership.leave();
  });

  test('a topic that is not there has no members', async () => {
    const transport = await harness.open();
    await assert.rejects(join(transport, 'nothing-there', ''), isFault('unknown-topic'));
    assert.deepEqual(await transport.members('nothing-there.group'), []);
  });
}
