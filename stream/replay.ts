// A run's steps once more, out of the log or from the shards: the same bytes, proved by their digests.

import { Fault } from '#shards';
import { differingParts } from './fingerprint-parts.ts';
import { type LedgerRecord, StepDigest } from './ledger.ts';
import { LedgerRange } from './ledger-range.ts';
import type { RunMeta } from './meta.ts';
import { FINGERPRINT } from './render.ts';
import { ReplayFolder } from './replay-folder.ts';
import { LogSource, type ReplayRange, type ReplaySource, ShardSource } from './replay-sources.ts';
import type { Transport } from './transport/transport.ts';

/** Renders the steps again instead of reading them. */
export interface ReplayShards {
  /** Folder of the packed dataset. */
  readonly dir: string;
  readonly workers: number;
  /** Whether steps whose fingerprint is not the ledger's are rendered all the same, and counted. */
  readonly allowOtherFingerprint: boolean;
}

export interface ReplayOptions {
  readonly transport: Transport;
  readonly run: string;
  readonly meta: RunMeta;
  readonly lanes: readonly number[];
  /** fromStep ≤ step < toStep; by default all steps that every lane of the run has. */
  readonly fromStep?: number | undefined;
  readonly toStep?: number | undefined;
  /** Null reads the log. */
  readonly shards: ReplayShards | null;
  /** Fails where a lane-step differs from the ledger, after all were looked at. */
  readonly verify: boolean;
  /** A folder for the records as files. */
  readonly to?: string | undefined;
  readonly signal: AbortSignal;
  readonly onStep: (progress: ReplayProgress) => void;
}

export interface ReplayCounters {
  laneSteps: number;
  records: number;
  bytes: number;
  /** Lane-steps with the ledger's digest. */
  proved: number;
  /** Lane-steps with another; of these with another fingerprint, which explains it. */
  differing: number;
  differingByFingerprint: number;
  /** Lane-steps with another fingerprint, whether their bytes differ or not. */
  otherFingerprint: number;
}

export interface ReplayProgress {
  readonly step: number;
  readonly range: ReplayRange;
  readonly counters: ReplayCounters;
}

export interface Replay extends ReplayCounters {
  /**
   * XXH3-128, 32 hex digits, over the lane-steps' digests in (step, lane) order, train only: each as the 32 ASCII characters
   * in which the ledger has it, one after the other. Each is computed from the bytes of the records.
   */
  readonly digest: string;
  /** How many: toStep − fromStep. */
  readonly steps: number;
  readonly fromStep: number;
  readonly toStep: number;
  readonly lanes: readonly number[];
  /** Files in the folder. */
  readonly files: number;
  /** What was skipped and sought in the log, or how the chunks were rendered. */
  readonly counters: Readonly<Record<string, number>>;
}

/** @throws Fault `replay-differs`, `fingerprint-differs`, `dataset-differs`, `step-not-produced`, `step-expired`, … */
export async function replay(options: ReplayOptions): Promise<Replay> {
  const { transport, run, meta, lanes, shards, to } = options;
  const { plan } = meta;
  const from = options.fromStep ?? 0;
  const most = { from, to: options.toStep ?? plan.steps, lanes };
  checkRange(most, plan.steps);
  const ledger = await LedgerRange.open({ transport, run, plan, ...most });
  const range = { ...most, to: options.toStep ?? Math.max(from + 1, ledger.complete) };
  checkProduced(range, ledger.complete);
  // Sooner than by its steps, whose fingerprints also name what some samples needed.
  if (shards && !shards.allowOtherFingerprint && meta.fingerprint !== FINGERPRINT)
    throw fingerprintDiffers(`run '${run}'`, FINGERPRINT, meta);
  const folder = to === undefined ? null : await ReplayFolder.create(to, plan.lanes);
  const source = shards
    ? await ShardSource.open({ meta, shards: shards.dir, workers: shards.workers, range })
    : new LogSource(transport, run, meta, lanes);
  try {
    return await replayFrom(source, ledger, range, folder, options);
  } catch (error) {
    await folder?.drop();
    throw error;
  } finally {
    await source.close();
  }
}

async function replayFrom(
  source: ReplaySource,
  ledger: LedgerRange,
  range: ReplayRange,
  folder: ReplayFolder | null,
  { verify, shards, signal, onStep }: ReplayOptions,
): Promise<Replay> {
  const { from, to, lanes } = range;
  const counters: ReplayCounters = {
    ...{ laneSteps: 0, records: 0, bytes: 0 },
    ...{ proved: 0, differing: 0, differingByFingerprint: 0, otherFingerprint: 0 },
  };
  const digest = new StepDigest();
  const whole = new StepDigest();
  let first: { step: number; what: string } | null = null;

  /** The digest of the lane-step's records, or what is wrong with them. */
  const take = async (entry: LedgerRecord): Promise<string | Fault> => {
    try {
      for await (const { bytes, release } of source.records(entry, digest)) {
        await folder?.write(entry, bytes);
        counters.records++;
        counters.bytes += bytes.length;
        release();
      }
      return digest.end();
    } catch (error) {
      if (verify && error instanceof Fault && DAMAGE.includes(error.code)) return error;
      throw withRemedy(error);
    }
  };

  /** Compares with the ledger; what differs and has no other fingerprint to explain it, or null. */
  const compare = (entry: LedgerRecord, made: string | Fault): string | null => {
    if (made instanceof Fault) {
      counters.differing++;
      return `${made.code}: ${made.received}`;
    }
    const fingerprint = source.fingerprintOf(entry);
    const foreign = fingerprint !== entry.fingerprint;
    if (foreign && !shards?.allowOtherFingerprint) throw fingerprintDiffers(placeName(entry), fingerprint, entry);
    if (foreign) counters.otherFingerprint++;
    if (made === entry.digest) {
      counters.proved++;
      return null;
    }
    counters.differing++;
    if (foreign) counters.differingByFingerprint++;
    return foreign ? null : `digest ${made}, and ${entry.digest} in the ledger`;
  };

  whole.begin();
  for (let step = from; step < to; step++) {
    for (const lane of lanes) {
      if (signal.aborted) throw interrupted(step, range);
      const entry = ledger.get(step, lane);
      const made = await take(entry);
      const difference = compare(entry, made);
      counters.laneSteps++;
      if (!(made instanceof Fault)) whole.add(Buffer.from(made));
      if (difference !== null && verify) {
        first ??= { step, what: `${placeName(entry)}: ${difference}` };
        await folder?.drop();
      } else await folder?.keep();
    }
    onStep({ step, range, counters });
  }
  if (first) throw replayDiffers(first, counters, shards !== null);
  return {
    ...counters,
    ...{ digest: whole.end(), steps: to - from, fromStep: from, toStep: to, lanes },
    ...{ files: folder?.files ?? 0, counters: source.counters },
  };
}

/** What is wrong with a lane-step's bytes alone: others can still be read. */
const DAMAGE: readonly string[] = [
  'chunk-missing',
  'digest-mismatch',
  'foreign-plan',
  'record-format',
  'record-incomplete',
  'record-lost',
  'safetensors-damaged',
];

const placeName = ({ step, lane }: LedgerRecord) => `step ${step}, lane ${lane}`;

function checkRange({ from, to }: ReplayRange, steps: number): void {
  if (from < to && to <= steps) return;
  throw new Fault({
    code: 'step-out-of-range',
    received: `steps ${from} ≤ s < ${to}`,
    expected: `0 ≤ from < to ≤ ${steps}`,
    remedy: 'correct --from-step and --to-step',
    exit: 2,
  });
}

function checkProduced({ from, to }: ReplayRange, complete: number): void {
  if (to <= complete) return;
  throw new Fault({
    code: 'step-not-produced',
    received: `steps ${from} ≤ s < ${to}`,
    expected: `some of the ${complete} steps that every lane has so far`,
    remedy: 'wait for the producer, or ask for earlier steps',
  });
}

function fingerprintDiffers(where: string, ours: string, { fingerprint }: Pick<LedgerRecord, 'fingerprint'>): Fault {
  const parts = differingParts(ours, fingerprint);
  return new Fault({
    code: 'fingerprint-differs',
    received: `${where}: ${parts.map(({ part, ours }) => `${part} ${ours}`).join(', ')}`,
    expected: `${parts.map(({ part, theirs }) => `${part} ${theirs}`).join(', ')}, which it was made with`,
    remedy:
      'replay with the version, and for sharp on the architecture, that made the run; or allow other bytes: --allow-other-fingerprint',
  });
}

function replayDiffers(first: { step: number; what: string }, counters: ReplayCounters, rendered: boolean): Fault {
  const { laneSteps, proved, differing } = counters;
  return new Fault({
    code: 'replay-differs',
    received: `${differing} of ${laneSteps} lane-steps differ, ${proved} are proved; the first: ${first.what}`,
    expected: 'the digests of the ledger',
    remedy: rendered
      ? "the shards' bytes have changed: 'preprocess verify' names where; or the fingerprint hides a difference of versions"
      : `the log's bytes are lost or damaged; regenerate with stream produce --from-step ${first.step}, or replay with --shards DIR`,
  });
}

/** What the log no longer holds can be rendered all the same. */
function withRemedy(error: unknown): unknown {
  if (!(error instanceof Fault) || error.code !== 'step-expired') return error;
  const remedy = `replay it from the shards, without the log: --shards DIR; or ${error.remedy}`;
  return new Fault({ ...error.toJSON(), remedy, cause: error });
}

function interrupted(step: number, { from, to }: ReplayRange): Fault {
  return new Fault({
    code: 'interrupted',
    received: `a signal to stop, at step ${step}`,
    expected: `steps ${from} ≤ s < ${to}`,
    remedy: `start it again; --from-step ${step} replays the rest`,
  });
}
