// One lane of a run, from the step after its ledger's highest to the plan's end: render ahead, append in order, note
// each step in the ledger. Killed anywhere, a new writer redoes the unfinished step; readers skip what it left behind.

import { Fault } from '#shards';
import { digestOf, encodeLedger, type LaneLedger, type LedgerRecord, VAL_STEP } from './ledger.ts';
import { imageBytes, type Plan, placeOf } from './plan.ts';
import { type ChunkTask, FINGERPRINT } from './render.ts';
import type { TaskSource } from './tasks.ts';
import type { RunTopics } from './topics.ts';
import type { Transport } from './transport/transport.ts';

/** Holds a lane back while its lead exceeds the window, and says what may go. */
export interface WindowGate {
  /** Whether the step may be produced now. */
  admits(step: number): boolean;
  /** Resolves when `admits(step)` does, or on abort. */
  wait(step: number, lane: number): Promise<void>;
  /** The lowest step to keep when `head` is the next to be produced. */
  keepFrom(head: number): number;
}

export interface LaneWriterOptions {
  readonly transport: Transport;
  readonly topics: RunTopics;
  readonly plan: Plan;
  readonly lane: number;
  readonly ledger: LaneLedger;
  readonly tasks: TaskSource;
  readonly render: (task: ChunkTask) => Promise<Uint8Array>;
  readonly gate: WindowGate;
  /** Bounds of what is rendered ahead of its append, in bytes and in steps; one step always fits. */
  readonly aheadBytes: number;
  readonly aheadSteps: number;
  readonly signal: AbortSignal;
  readonly onStep: (record: LedgerRecord) => void;
  readonly onAppend: (ms: number) => void;
}

/** Appends a step's chunks and its ledger record. `known`: what the ledger already says, when a step is made again. */
async function appendStep(
  { transport, topics, lane, ledger, onAppend }: LaneWriterOptions,
  { topic, step, epoch }: { topic: string; step: number; epoch: number },
  tasks: readonly ChunkTask[],
  chunks: readonly Uint8Array[],
): Promise<LedgerRecord> {
  const digest = digestOf(chunks);
  const known = ledger.get(topic, step);
  if (known && known.digest !== digest)
    throw new Fault({
      code: 'regenerated-differs',
      received: `${topic}, lane ${lane}, step ${step}: digest ${digest} (fingerprint ${FINGERPRINT})`,
      expected: `${known.digest} (fingerprint ${known.fingerprint}), as the ledger says`,
      remedy: 'regenerate with the shards and the version that made the run',
    });
  const start = performance.now();
  const end0 = chunks.length > 0 ? 0 : ((await transport.ends(topic))[lane]?.end ?? 0);
  let offset = end0;
  let end = end0;
  for (const [i, chunk] of chunks.entries()) {
    const at = await transport.append(topic, lane, chunk);
    if (i === 0) offset = at;
    end = at + 1;
  }
  const record: LedgerRecord = {
    topic,
    lane,
    step,
    epoch,
    offset,
    end,
    chunks: chunks.length,
    samples: tasks.reduce((sum, task) => sum + task.samples.length, 0),
    bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    digest,
    fingerprint: FINGERPRINT,
  };
  await transport.append(topics.ledger, lane, encodeLedger(record));
  ledger.add(record);
  onAppend(performance.now() - start);
  return record;
}

interface RenderedStep {
  readonly tasks: readonly ChunkTask[];
  readonly chunks: Promise<Uint8Array[]>;
}

/** Produces the lane from `from` to the plan's end, or until aborted. */
export async function writeLane(options: LaneWriterOptions, from: number): Promise<void> {
  const { topics, plan, lane, ledger, tasks, render, gate, aheadBytes, aheadSteps, signal, onStep } = options;
  const renderAll = (list: readonly ChunkTask[]): RenderedStep => {
    const chunks = Promise.all(list.map(render));
    // A failure is met where the step is awaited; until then it must not count as unhandled.
    chunks.catch(() => {});
    return { tasks: list, chunks };
  };
  const stepBytes = (step: number) => {
    const { phase } = placeOf(plan, step);
    return (phase.batch / plan.lanes) * imageBytes(phase.resolution);
  };
  const prune = pruner(options);
  const fits = (step: number) =>
    ahead.length === 0 || (ahead.length < aheadSteps && waiting + stepBytes(step) <= aheadBytes);
  const writeVal = async (resolution: number) => {
    const topic = topics.val(resolution);
    if (ledger.get(topic, VAL_STEP)) return;
    const { tasks: list, chunks } = renderAll(tasks.val(resolution, lane));
    await appendStep(options, { topic, step: VAL_STEP, epoch: VAL_STEP }, list, await chunks);
  };

  const ahead: RenderedStep[] = [];
  let rendering = from;
  let waiting = 0;
  for (let step = from; step < plan.steps; step++) {
    const { phase, epoch } = placeOf(plan, step);
    await writeVal(phase.resolution);
    while (rendering < plan.steps && fits(rendering)) {
      if (!gate.admits(rendering)) {
        if (ahead.length > 0) break;
        await gate.wait(rendering, lane);
      }
      if (signal.aborted) return;
      ahead.push(renderAll(tasks.train(rendering, lane)));
      waiting += stepBytes(rendering++);
    }
    const rendered = ahead.shift() as RenderedStep;
    const chunks = await rendered.chunks;
    if (signal.aborted) return;
    onStep(await appendStep(options, { topic: topics.train(phase.resolution), step, epoch }, rendered.tasks, chunks));
    waiting -= stepBytes(step);
    await prune(step + 1);
  }
}

/** Deletes what the window no longer holds, a sixteenth of the lane's steps at a time rather than one by one. */
function pruner({ transport, topics, plan, lane, ledger, gate }: LaneWriterOptions): (head: number) => Promise<void> {
  let kept = 0;
  return async (head) => {
    const keep = gate.keepFrom(head);
    if (keep === 0 || keep - kept < Math.max(1, (head - kept) / 16)) return;
    const topicOf = (step: number) => topics.train(placeOf(plan, step).phase.resolution);
    const current = topicOf(Math.min(keep, plan.steps - 1));
    const stale = new Set<string>();
    for (let step = kept; step < keep; step++) stale.add(topicOf(step));
    for (const topic of stale) {
      const limit = topic === current ? ledger.get(topic, keep) : ledger.get(topic, keep - 1);
      if (limit) await transport.deleteBefore(topic, lane, topic === current ? limit.offset : limit.end);
    }
    kept = keep;
  };
}
