// Shared partitions on the embedded log: each member renews its row, and leases say who owns which partition. No member leads:
// all compute the same shares from the same tables, each inside a write transaction.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from 'lmdb';
import { identityOf, lives, type ProcessIdentity } from '#shards';
import { shareOut } from './share-out.ts';
import type { JoinOptions, Member, Membership } from './transport.ts';

export interface MemberRow {
  readonly about: string;
  readonly process: ProcessIdentity;
  /** When it was renewed, by `now`. */
  readonly seen: number;
}

export interface LeaseTables {
  readonly members: Database<MemberRow, [group: string, id: string]>;
  /** The owner's id. */
  readonly leases: Database<string, [group: string, partition: number]>;
}

const RENEW_MS = 1000;
/** A member that has not renewed for so long is gone, or paused: its partitions go to others. */
const EXPIRE_MS = 6000;

/** Milliseconds of the clock that all processes of a machine share and that nobody can set. */
const now = (): number => Number(process.hrtime.bigint() / 1_000_000n);

const expired = ({ seen }: MemberRow): boolean => {
  const age = now() - seen;
  // In the future: of before the machine's start.
  return age > EXPIRE_MS || age < 0;
};

export interface LeaseOptions extends JoinOptions {
  readonly tables: LeaseTables;
  readonly partitions: number;
  /** Runs its body in a write transaction, once; a `Fault` in it fails the call. */
  readonly transaction: <T>(body: () => T) => Promise<T>;
}

function membersOf({ members }: LeaseTables, group: string): Map<string, MemberRow> {
  const rows = members.getRange({ start: [group], end: [`${group}\0`] });
  return new Map(Array.from(rows, ({ key: [, id], value }) => [id, value]));
}

function leasesOf({ leases }: LeaseTables, group: string): Map<number, string> {
  const rows = leases.getRange({ start: [group], end: [`${group}\0`] });
  return new Map(Array.from(rows, ({ key: [, partition], value }) => [partition, value]));
}

const partitionsOf = (owners: ReadonlyMap<number, string>, id: string): number[] =>
  [...owners].flatMap(([partition, owner]) => (owner === id ? [partition] : [])).sort((a, b) => a - b);

/** Who shares the group's partitions now, paused members until they expire. */
export async function leaseMembers(tables: LeaseTables, group: string): Promise<Member[]> {
  const owners = leasesOf(tables, group);
  const rows = [...membersOf(tables, group)].filter(([, row]) => !expired(row));
  const alive = await Promise.all(rows.map(([, row]) => lives(row.process)));
  return rows
    .filter((_, index) => alive[index])
    .map(([id, { about }]) => ({ id, about, partitions: partitionsOf(owners, id) }));
}

export class LeaseMembership implements Membership {
  readonly #options: LeaseOptions;
  readonly #id = randomUUID();
  readonly #leaving = new AbortController();
  readonly #running: Promise<void>;
  /** What was told last. */
  #owned: string | null = null;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#running = this.#renewAll();
  }

  async leave(): Promise<void> {
    if (this.#leaving.signal.aborted) return this.#running;
    this.#leaving.abort();
    await this.#running;
    const { transaction } = this.#options;
    await transaction(() => this.#remove(this.#id));
  }

  async #renewAll(): Promise<void> {
    const { signal } = this.#leaving;
    const self = await identityOf(process.pid);
    try {
      while (!signal.aborted) {
        await this.#renew(self);
        await sleep(RENEW_MS, undefined, { signal }).catch(() => undefined);
      }
    } catch (error) {
      this.#options.onFailure(error);
    }
  }

  async #renew(self: ProcessIdentity): Promise<void> {
    const { tables, group, about, partitions, transaction, onOwned } = this.#options;
    const dead = await this.#dead();
    const owned = await transaction(() => {
      tables.members.putSync([group, this.#id], { about, process: self, seen: now() });
      const rows = membersOf(tables, group);
      for (const [id, row] of rows) if (dead.has(id) || expired(row)) this.#remove(id);
      const owners = leasesOf(tables, group);
      const held = new Map([...membersOf(tables, group).keys()].map((id) => [id, partitionsOf(owners, id)]));
      const share = shareOut(partitions, held).get(this.#id) ?? [];
      const before = held.get(this.#id) ?? [];
      for (const partition of before) if (!share.includes(partition)) tables.leases.removeSync([group, partition]);
      // What another holds is claimed when it has let go of it.
      const mine = share.filter((partition) => (owners.get(partition) ?? this.#id) === this.#id);
      for (const partition of mine) tables.leases.putSync([group, partition], this.#id);
      return mine;
    });
    if (this.#leaving.signal.aborted || owned.join() === this.#owned) return;
    this.#owned = owned.join();
    onOwned(new Set(owned));
  }

  /** Members whose process has ended without leaving. */
  async #dead(): Promise<Set<string>> {
    const { tables, group } = this.#options;
    const dead = new Set<string>();
    for (const [id, row] of membersOf(tables, group)) if (id !== this.#id && !(await lives(row.process))) dead.add(id);
    return dead;
  }

  /** Inside a transaction. */
  #remove(id: string): void {
    const { tables, group } = this.#options;
    tables.members.removeSync([group, id]);
    for (const partition of partitionsOf(leasesOf(tables, group), id)) tables.leases.removeSync([group, partition]);
  }
}
