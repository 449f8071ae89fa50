// What moves bytes between the ranks of one training: alone there is nothing to move; else MPI does it.

import { Fault } from '#shards';
import { launchedByMpi, openMpi } from './mpi.ts';

/** Every rank calls the same methods in the same order, with blocks of the same size. */
export interface Collective {
  readonly rank: number;
  readonly ranks: number;
  /** Every rank's `own`, in rank order, into `all`. Holds the thread until all ranks have come. */
  gather(own: Uint8Array, all: Uint8Array): void;
  /** The same without holding the thread; one at a time. Neither array is to be touched before it has resolved. */
  gatherLater(own: Uint8Array, all: Uint8Array): Promise<void>;
  /** Rank 0's bytes into every rank's `bytes`. Holds the thread. */
  broadcast(bytes: Uint8Array): void;
  /** All ranks are done: this process may end once it has said what it has to say. */
  end(): void;
}

const alone: Collective = {
  rank: 0,
  ranks: 1,
  gather: (own, all) => all.set(own),
  gatherLater: async (own, all) => all.set(own),
  broadcast: () => {},
  end: () => {},
};

export interface RankOptions {
  /** Both come from MPI where they are not given. */
  readonly rank?: number | undefined;
  readonly ranks?: number | undefined;
}

/** @throws Fault `ranks-without-mpi`, `other-ranks`, `mpi-missing` */
export async function openCollective({ rank, ranks }: RankOptions): Promise<Collective> {
  const launched = launchedByMpi();
  const many = (ranks ?? 1) > 1 || (rank ?? 0) > 0;
  if (many && !launched)
    throw new Fault({
      code: 'ranks-without-mpi',
      received: `${ranksText(rank, ranks)} in a process that no MPI has started`,
      expected: 'one process a rank under mpirun, which gives each its rank',
      remedy: `start them with: mpirun -n ${ranks ?? 'N'} trainer consume …`,
      exit: 2,
    });
  if (!launched) return alone;
  const collective = await openMpi();
  if ((rank ?? collective.rank) === collective.rank && (ranks ?? collective.ranks) === collective.ranks)
    return collective;
  throw new Fault({
    code: 'other-ranks',
    received: ranksText(rank, ranks),
    expected: `--rank ${collective.rank} --ranks ${collective.ranks}, as MPI has it`,
    remedy: 'leave both out: they come from MPI',
    exit: 2,
  });
}

function ranksText(rank: number | undefined, ranks: number | undefined): string {
  const parts = [rank === undefined ? [] : [`--rank ${rank}`], ranks === undefined ? [] : [`--ranks ${ranks}`]];
  return parts.flat().join(' ');
}
