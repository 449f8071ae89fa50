// `trainer consume`: joins a run, alone or as one of several ranks; rank 0 locks OUT. What is then done is a session.

import { lockFolder } from '#shards';
import { Feed } from '#stream';
import { checkBackendName } from './backend/backend.ts';
import { withCleanup } from './cleanup.ts';
import type { DataReport } from './data-wait.ts';
import type { EpochEvaluation } from './epoch-evaluation.ts';
import { interrupted } from './interrupted.ts';
import type { JournalEntry } from './journal.ts';
import { type Collective, openCollective } from './ranks/collective.ts';
import { Meeting } from './ranks/meeting.ts';
import { folderToResume } from './resume.ts';
import { Session } from './session.ts';
import type { PhaseResult } from './tally.ts';

export interface ConsumeOptions {
  readonly transport: string;
  readonly run: string;
  /** Rank 0's; the others keep nothing. */
  readonly out: string;
  /** Both come from MPI where they are not given. */
  readonly rank?: number | undefined;
  readonly ranks?: number | undefined;
  readonly backend: string;
  /** Changes to the recipe outside the planHash, each KEY=VALUE. */
  readonly settings: readonly string[];
  readonly resume: boolean;
  /** How many of the newest checkpoints stay, beside the best; default 3. */
  readonly keep?: number | undefined;
  /** Weights to start from at step 0: a checkpoint or what `trainer import` wrote. Rank 0's. */
  readonly init?: string | undefined;
  /** With `init`: fc starts from the seed. */
  readonly newHead?: boolean | undefined;
  /** Resume although backend, library, threads or processor differ: the curve is then not the same to the bit. */
  readonly allowOtherNumerics: boolean;
  /** How long to wait for a run that nobody has begun. */
  readonly waitMs: number;
  readonly prefetchBytes: number;
  readonly signal: AbortSignal;
  readonly onLine: (line: string) => void;
  /** After each step and what surrounds it. */
  readonly onStep?: ((entry: JournalEntry) => void) | undefined;
}

export interface ConsumeResult {
  readonly run: string;
  readonly rank: number;
  readonly ranks: number;
  readonly backend: string;
  readonly steps: number;
  readonly seconds: number;
  /** Mean losses over the first and the last epoch of the run; null where the journal lacks steps of it. */
  readonly firstLoss: number | null;
  readonly finalLoss: number | null;
  readonly phases: readonly PhaseResult[];
  /** The last evaluation on the val topic. */
  readonly evaluation: EpochEvaluation | null;
  /** How long it waited for data, and for whom; null where this process trained less than two steps. */
  readonly data: DataReport | null;
  /** What the reading met: bytes, records skipped, seeks, and the transport's retries and reconnects. */
  readonly counters: Readonly<Record<string, number>>;
}

/** Trains to the plan's end. What can be known to be wrong without the run is told before it is waited for. */
export async function consume(options: ConsumeOptions): Promise<ConsumeResult> {
  checkBackendName(options.backend);
  const collective = await openCollective(options);
  const { rank, ranks } = collective;
  const onLine = rank > 0 ? (line: string) => options.onLine(`rank ${rank}: ${line}`) : options.onLine;
  if (ranks > 1) onLine(`one of ${ranks} ranks, process ${process.pid}`);
  const meeting = new Meeting(collective);
  const own = { ...options, onLine };
  return meeting.through(() => (rank === 0 ? leading(own, collective, meeting) : joined(own, collective, meeting)));
}

async function leading(options: ConsumeOptions, collective: Collective, meeting: Meeting): Promise<ConsumeResult> {
  const lock = await lockFolder(options.out);
  const resumed = async () => joined(options, collective, meeting, await folderToResume(options.out, options));
  return withCleanup(resumed, () => lock.release());
}

/** `folder`: the checkpoint to resume from; null for a start at step 0. */
async function joined(
  options: ConsumeOptions,
  collective: Collective,
  meeting: Meeting,
  folder: string | null = null,
): Promise<ConsumeResult> {
  const { transport, run, waitMs, signal, onLine } = options;
  const feed = new Feed(onLine);
  const trained = async () => {
    const join = feed.join({ transport, run, waitMs });
    const met = await meeting.meet(
      join.then(({ planHash }) => ({ agree: { run, planHash } })),
      signal,
    );
    if (!met) throw interrupted('before the run was joined');
    const session = new Session({ options, feed, meta: await join, collective, meeting });
    return session.run(folder);
  };
  return withCleanup(trained, () => feed.close());
}
