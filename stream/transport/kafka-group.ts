// Shared partitions on Kafka: a consumer group in which nobody consumes. Members join, heartbeat and are told what they own; the
// group's leader, as Kafka chooses it, shares out. kafkajs speaks the protocol; its own consumer is not used, as it would fetch.
//
// In the producer's own thread on purpose: a process whose thread is stuck for the length of a session writes nothing either, and
// loses its partitions to those who do.

import { setTimeout as sleep } from 'node:timers/promises';
import type { AssignerProtocol, Cluster, GroupMember } from 'kafkajs';
import { Fault } from '#shards';
import { unreachable } from './faults.ts';
import { failureOf } from './kafka-client.ts';
import { refusalOf } from './kafka-refusals.ts';
import { shareOut } from './share-out.ts';
import type { JoinOptions, Member, Membership } from './transport.ts';

/** How long a silent member keeps what it owns. */
const SESSION_MS = 8000;
const HEARTBEAT_MS = 1000;
/** How long the group waits for its members to join again when one came or went. */
const REBALANCE_MS = 10_000;
const LEAVE_MS = 1000;
const BACKOFF_MS = { first: 50, last: 1000 };
/** Name of our way to share out; a group has one. */
const PROTOCOL = 'medium-recipe-shares';

export interface GroupCounters {
  /** Times the group shared out anew. */
  rebalances: number;
  /** Times the group had given this member up. */
  evictions: number;
}

export interface KafkaGroupOptions extends JoinOptions {
  /** Connections of the member's own: an answer to joining may take as long as a rebalance. */
  readonly newCluster: () => Cluster;
  readonly codec: typeof AssignerProtocol;
  readonly partitions: number;
  readonly url: string;
  readonly patienceMs: number;
  readonly counters: GroupCounters;
  readonly onEvent: (event: string) => void;
}

/** The part of kafkajs' Broker that its types leave out. */
interface Coordinator {
  joinGroup(request: {
    readonly groupId: string;
    readonly sessionTimeout: number;
    readonly rebalanceTimeout: number;
    readonly memberId: string;
    readonly groupProtocols: readonly { readonly name: string; readonly metadata: Buffer }[];
  }): Promise<{
    readonly generationId: number;
    readonly leaderId: string;
    readonly memberId: string;
    readonly members: readonly GroupMember[];
  }>;
  syncGroup(request: {
    readonly groupId: string;
    readonly generationId: number;
    readonly memberId: string;
    readonly groupAssignment: readonly { readonly memberId: string; readonly memberAssignment: Buffer }[];
  }): Promise<{ readonly memberAssignment: Buffer }>;
  heartbeat(request: {
    readonly groupId: string;
    readonly groupGenerationId: number;
    readonly memberId: string;
  }): Promise<unknown>;
  leaveGroup(request: { readonly groupId: string; readonly memberId: string }): Promise<unknown>;
}

/** What a member tells the leader; `held` keeps partitions where they are. */
interface MemberData {
  readonly about: string;
  readonly held: readonly number[];
}

export class KafkaGroup implements Membership {
  readonly #options: KafkaGroupOptions;
  readonly #leaving = new AbortController();
  readonly #running: Promise<void>;
  #cluster: Cluster;
  #coordinator: Coordinator | null = null;
  #memberId = '';
  #generationId = -1;
  #owned: readonly number[] = [];
  #told = false;
  #failingSince: number | null = null;

  constructor(options: KafkaGroupOptions) {
    this.#options = options;
    this.#cluster = options.newCluster();
    this.#running = this.#memberAll();
  }

  async leave(): Promise<void> {
    if (this.#leaving.signal.aborted) return this.#running;
    this.#leaving.abort();
    const left =
      this.#memberId === ''
        ? undefined
        : this.#coordinator?.leaveGroup({ groupId: this.#options.group, memberId: this.#memberId });
    left?.catch(() => undefined);
    // Bounded: a connection's answers come in order, and this one's may be waiting for a rebalance.
    await Promise.race([left, sleep(LEAVE_MS)]).catch(() => undefined);
    await this.#cluster.disconnect().catch(() => undefined);
    await this.#running;
  }

  async #memberAll(): Promise<void> {
    const { signal } = this.#leaving;
    for (let backoff = BACKOFF_MS.first; !signal.aborted; backoff = Math.min(2 * backoff, BACKOFF_MS.last)) {
      try {
        await this.#join();
        this.#failingSince = null;
        backoff = BACKOFF_MS.first;
        await this.#heartbeats();
      } catch (error) {
        if (signal.aborted) return;
        try {
          if (this.#rejoins(error)) continue;
        } catch (fault) {
          this.#options.onFailure(fault);
          return;
        }
        await sleep(backoff, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #join(): Promise<void> {
    const { group, topic, partitions, counters, codec } = this.#options;
    await this.#cluster.connect();
    const coordinator = (await this.#cluster.findGroupCoordinator({ groupId: group })) as unknown as Coordinator;
    this.#coordinator = coordinator;
    const data: MemberData = { about: this.#options.about, held: this.#owned };
    const userData = Buffer.from(JSON.stringify(data));
    const joined = await coordinator.joinGroup({
      groupId: group,
      sessionTimeout: SESSION_MS,
      rebalanceTimeout: REBALANCE_MS,
      memberId: this.#memberId,
      groupProtocols: [
        { name: PROTOCOL, metadata: codec.MemberMetadata.encode({ version: 1, topics: [topic], userData }) },
      ],
    });
    this.#memberId = joined.memberId;
    this.#generationId = joined.generationId;
    const { memberAssignment } = await coordinator.syncGroup({
      groupId: group,
      generationId: joined.generationId,
      memberId: joined.memberId,
      groupAssignment: joined.leaderId === joined.memberId ? this.#assignments(joined.members) : [],
    });
    counters.rebalances++;
    const owned = codec.MemberAssignment.decode(memberAssignment)?.assignment[topic] ?? [];
    this.#own(owned.filter((partition) => partition < partitions));
  }

  /** By the leader, for all. */
  #assignments(members: readonly GroupMember[]): { memberId: string; memberAssignment: Buffer }[] {
    const { codec, partitions, topic } = this.#options;
    const held = new Map(members.map((member) => [member.memberId, dataOf(codec, member.memberMetadata).held]));
    return [...shareOut(partitions, held)].map(([memberId, share]) => ({
      memberId,
      memberAssignment: codec.MemberAssignment.encode({
        version: 1,
        assignment: { [topic]: share },
        userData: Buffer.alloc(0),
      }),
    }));
  }

  #own(owned: readonly number[]): void {
    if (this.#leaving.signal.aborted || (this.#told && owned.join() === this.#owned.join())) return;
    this.#owned = owned;
    this.#told = true;
    this.#options.onOwned(new Set(owned));
  }

  /** Until the coordinator says otherwise. */
  async #heartbeats(): Promise<void> {
    const { group } = this.#options;
    const { signal } = this.#leaving;
    for (;;) {
      await sleep(HEARTBEAT_MS, undefined, { signal });
      const beat = { groupId: group, groupGenerationId: this.#generationId, memberId: this.#memberId };
      await this.#coordinator?.heartbeat(beat);
      this.#failingSince = null;
    }
  }

  /** Whether to join again at once. @throws Fault where another try is of no use. */
  #rejoins(error: unknown): boolean {
    const { group, url, patienceMs, counters, onEvent, newCluster } = this.#options;
    const failure = failureOf(error);
    const { type, message, refused } = failure;
    // What is owned stays so until the group has shared out anew.
    if (type === 'REBALANCE_IN_PROGRESS') return true;
    if (type === 'UNKNOWN_MEMBER_ID' || type === 'ILLEGAL_GENERATION' || type === 'FENCED_INSTANCE_ID') {
      counters.evictions++;
      onEvent(`group ${group} had given this member up; joining again`);
      this.#memberId = '';
      this.#own([]);
      return true;
    }
    const refusal = refusalOf(failure, url, `joining the group ${group}`);
    if (refusal !== null) throw refusal;
    if (refused) throw membershipRefused(group, type, message, error);
    this.#failingSince ??= Date.now();
    const waited = Date.now() - this.#failingSince;
    if (waited > patienceMs) throw unreachable(url, Math.round(waited / 1000), error);
    if (waited === 0 || waited > 1000) onEvent(`group ${group}: joining again after ${message}`);
    // The coordinator may have moved, or its connection be dead without having closed.
    this.#cluster.disconnect().catch(() => undefined);
    this.#cluster = newCluster();
    return false;
  }
}

function dataOf({ MemberMetadata }: typeof AssignerProtocol, metadata: Buffer): MemberData {
  const { userData } = MemberMetadata.decode(metadata) ?? {};
  return JSON.parse((userData ?? Buffer.from('')).toString('utf8')) as MemberData;
}

/** A member as the cluster describes it to anybody. */
export function memberOf(
  codec: typeof AssignerProtocol,
  described: { readonly memberId: string; readonly memberMetadata: Buffer; readonly memberAssignment: Buffer },
): Member {
  const { memberId, memberMetadata, memberAssignment } = described;
  // Empty while the group shares out.
  const assignment = memberAssignment.length > 0 ? codec.MemberAssignment.decode(memberAssignment)?.assignment : {};
  const partitions = Object.values(assignment ?? {}).flat();
  const { about } = memberMetadata.length > 0 ? dataOf(codec, memberMetadata) : { about: null };
  return { id: memberId, about, partitions: partitions.toSorted((a, b) => a - b) };
}

const membershipRefused = (group: string, type: string, message: string, cause: unknown): Fault =>
  new Fault({
    code: 'group-refused',
    received: `${type} for group '${group}': ${message}`,
    expected: 'a group that this client may join',
    remedy: 'see whether another program uses its name',
    cause,
  });
