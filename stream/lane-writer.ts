// One lane of a run, from the step after its ledger's highest on: render ahead, append in order, note each step in the
// ledger. Killed anywhere, a new writer redoes the unfinished step; readers skip what it left behind.

import { Fault, killPoint } from '#shards';
import { encodeLedger, type LaneLedger, type LedgerRecord, type StepDigest, VAL_STEP } from './ledger.ts';
import { imageBytes, maxRecordBytes, type Plan, placeOf } from './plan.ts';
import type { RenderedChunk } from './pool.ts';
import { type ChunkTask, fingerprintWith } from './render.ts';
import type { TaskSource } from './tasks.ts';
import type { RunTopics } from './topics.ts';
import type { Transport } from './transport/transport.ts';

/** Holds a lane back while its lead exceeds the window, and says what may go. */
export interface WindowGate {
  /** Whether the step may be produced now. */
  admits(step: number): boolean;
  /** Resolves when `admits(step)` does, or on abort. */
  wait(step: number, lane: number, signal: AbortSignal): Promise<void>;
  /** The lowest step to keep when `head` is the next to be produced. */
  keepFrom(head: number): number;
}

export interface LaneWriterOptions {
  readonly transport: Transport;
  readonly topics: RunTopics;
  readonly plan: Plan;
  readonly lane: number;
  readonly ledger: LaneLedger;
  /** This lane's own. */
  readonly digest: StepDigest;
  readonly tasks: TaskSource;
  readonly render: (task: ChunkTask) => Promise<RenderedChunk>;
  readonly gate: WindowGate;
  /** Bounds of what is rendered ahead of its append, in bytes and in steps (val: records); one always fits. */
  readonly aheadBytes: number;
  readonly aheadSteps: number;
  readonly signal: AbortSignal;
  readonly onStep: (record: LedgerRecord) => void;
  readonly onAppend: (ms: number) => void;
  /** Damaged samples that others stand for. */
  readonly onReplaced: (damaged: readonly string[]) => void;
}

/** Chunks in order; undefined after the last. */
type NextChunk = () => Promise<RenderedChunk> | undefined;

/** Renders tasks in order, at most `ahead` of them before they are asked for, the first of these now. */
function rendering(tasks: readonly ChunkTask[], render: LaneWriterOptions['render'], ahead: number): NextChunk {
  const started: Promise<RenderedChunk>[] = [];
  let next = 0;
  const fill = () => {
    for (let task = tasks[next]; task && started.length < ahead; task = tasks[++next]) {
      const chunk = render(task);
      // A failure is met where the chunk is asked for; until then it must not count as unhandled.
      chunk.catch(() => {});
      started.push(chunk);
    }
  };
  fill();
  return () => {
    const chunk = started.shift();
    fill();
    return chunk;
  };
}

/** Appends a step's chunks and its ledger record; null when aborted before that. */
async function appendStep(
  { transport, topics, lane, ledger, digest, signal, onAppend, onReplaced }: LaneWriterOptions,
  { topic, step, epoch }: Pick<LedgerRecord, 'topic' | 'step' | 'epoch'>,
  tasks: readonly ChunkTask[],
  nextChunk: NextChunk,
): Promise<LedgerRecord | null> {
  digest.begin();
  let offset = -1;
  let end = -1;
  let chunks = 0;
  let bytes = 0;
  let appendMs = 0;
  const decoders = new Set<string>();
  for (let chunk = await nextChunk(); chunk; chunk = await nextChunk()) {
    if (signal.aborted) return null;
    const start = performance.now();
    const appending = transport.append(topic, lane, chunk.bytes);
    digest.add(chunk.bytes);
    const at = await appending;
    killPoint('chunk-appended', lane, step, chunks++);
    appendMs += performance.now() - start;
    if (offset < 0) offset = at;
    end = at + 1;
    bytes += chunk.bytes.length;
    chunk.release();
    for (const name of Object.keys(chunk.decoders)) decoders.add(name);
    if (chunk.replaced.length > 0) onReplaced(chunk.replaced);
  }
  // A lane without samples of its own: an empty range.
  if (offset < 0) offset = end = (await transport.ends(topic))[lane]?.end ?? 0;
  const record: LedgerRecord = {
    topic,
    lane,
    step,
    epoch,
    offset,
    end,
    chunks: tasks.length,
    samples: tasks.reduce((sum, task) => sum + task.samples.length, 0),
    bytes,
    digest: digest.end(),
    fingerprint: fingerprintWith(decoders),
  };
  checkRegenerated(ledger.get(topic, step), record);
  const start = performance.now();
  killPoint('before-ledger', lane, step);
  await transport.append(topics.ledger, lane, encodeLedger(record));
  ledger.add(record);
  onAppend(appendMs + performance.now() - start);
  return record;
}

function checkRegenerated(known: LedgerRecord | undefined, made: LedgerRecord): void {
  if (!known || known.digest === made.digest) return;
  throw new Fault({
    code: 'regenerated-differs',
    received: `${made.topic}, lane ${made.lane}, step ${made.step}: digest ${made.digest} (fingerprint ${made.fingerprint})`,
    expected: `${known.digest} (fingerprint ${known.fingerprint}), as the ledger says`,
    remedy: 'regenerate with the shards and the version that made the run',
  });
}

/** Produces the lane's steps [from, to); false where it was aborted before `to`. */
export async function writeLane(options: LaneWriterOptions, from: number, to: number): Promise<boolean> {
  const { topics, plan, lane, tasks, render, gate, aheadBytes, aheadSteps, signal, onStep } = options;
  const stepBytes = (step: number) => {
    const { phase } = placeOf(plan, step);
    return (phase.batch / plan.lanes) * imageBytes(phase.resolution);
  };
  const prune = pruner(options);
  const ahead: { readonly tasks: readonly ChunkTask[]; readonly nextChunk: NextChunk }[] = [];
  let next = from;
  let waiting = 0;
  const fits = (step: number) =>
    ahead.length === 0 || (ahead.length < aheadSteps && waiting + stepBytes(step) <= aheadBytes);
  for (let step = from; step < to; step++) {
    const { phase, epoch } = placeOf(plan, step);
    await writeVal(options, phase.resolution);
    while (next < to && fits(next)) {
      if (!gate.admits(next)) {
        if (ahead.length > 0) break;
        await gate.wait(next, lane, signal);
      }
      if (signal.aborted) return false;
      const list = tasks.train(next, lane);
      ahead.push({ tasks: list, nextChunk: rendering(list, render, list.length) });
      waiting += stepBytes(next++);
    }
    const rendered = ahead.shift();
    if (!rendered) throw new Error(`nothing is rendered for step ${step}`);
    const id = { topic: topics.train(phase.resolution), step, epoch };
    const record = await appendStep(options, id, rendered.tasks, rendered.nextChunk);
    if (!record) return false;
    onStep(record);
    waiting -= stepBytes(step);
    await prune.at(step + 1);
  }
  await prune.ended();
  return true;
}

/** Writes the lane's share of the val split at a resolution, unless it is there. */
async function writeVal(options: LaneWriterOptions, resolution: number): Promise<void> {
  const { topics, lane, ledger, tasks, render, aheadBytes, aheadSteps, signal } = options;
  const topic = topics.val(resolution);
  if (signal.aborted || ledger.get(topic, VAL_STEP)) return;
  const list = tasks.val(resolution, lane);
  const fitting = Math.floor(aheadBytes / maxRecordBytes(resolution));
  const nextChunk = rendering(list, render, Math.max(1, Math.min(aheadSteps, fitting)));
  await appendStep(options, { topic, step: VAL_STEP, epoch: VAL_STEP }, list, nextChunk);
}

interface Pruner {
  /** To be called when `head` is the next step. */
  at(head: number): Promise<void>;
  /** What is under way. */
  ended(): Promise<void>;
}

/**
 * Deletes what the window no longer holds, a sixteenth of the lane's steps at a time rather than one by one, and beside
 * the writing: on a cluster it takes half a second until every replica has heard of it. The writer waits only where a
 * quarter of what is stored is no longer wanted.
 */
function pruner({ transport, lane, ledger, gate }: LaneWriterOptions): Pruner {
  const begins = new Map<string, number>();
  let kept = 0;
  let running = false;
  let deleting = Promise.resolve();
  const deleteBelow = async (keep: number): Promise<void> => {
    for (const topic of ledger.trainTopics) {
      const begin = ledger.offsetBelow(topic, keep);
      if (begin <= (begins.get(topic) ?? 0)) continue;
      await transport.deleteBefore(topic, lane, begin);
      begins.set(topic, begin);
    }
    ledger.forgetBelow(keep);
    kept = keep;
    running = false;
  };
  return {
    async at(head) {
      const keep = gate.keepFrom(head);
      const stored = head - kept;
      if (keep === 0 || keep - kept < Math.max(1, stored / 16)) return;
      if (running) {
        if (keep - kept < stored / 4) return;
        await deleting;
      }
      running = true;
      deleting = deleteBelow(keep);
      deleting.catch(() => undefined); // met by who awaits it
    },
    ended: () => deleting,
  };
}
