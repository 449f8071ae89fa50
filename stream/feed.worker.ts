// The consumer's own thread: a training step may block its thread for seconds, and Kafka's heartbeats must not wait.
// Answers one request at a time for each method; a batch's buffers are transferred, not copied.

import { parentPort } from 'node:worker_threads';
import { Fault } from '#shards';
import { Consumer, type LaneStep } from './consumer.ts';
import type { FeedBatch, FeedMethods, FeedReply, FeedRequest, GroupSamples, StartOptions } from './feed.ts';
import { awaitRun } from './meta.ts';
import { ProgressWatch, reportProgress } from './progress.ts';
import type { RecordTensors } from './record.ts';
import { openTransport } from './transport/index.ts';
import type { Transport } from './transport/transport.ts';

const port = parentPort;
if (!port) throw new Error('feed.worker runs in a worker thread');

let transport: Transport | undefined;
let consumer: Consumer | undefined;
/** Of a rank that has not all lanes: opened when it evaluates. */
let valConsumer: Promise<Consumer> | undefined;
let valOptions: StartOptions | undefined;
let run = '';
let groups = 1;
let evaluation: { resolution: number; chunks: AsyncGenerator<RecordTensors> } | undefined;

const opened = (): Consumer => {
  if (!consumer) throw new Error('the feed is not open');
  return consumer;
};

/** Who reads the val split, which lies in all lanes: whoever reads all, else a consumer that has no step to train on. */
async function openVal(): Promise<Consumer> {
  if (!valOptions || !transport) return opened();
  const { meta, prefetchBytes } = valOptions;
  const lanes = Array.from({ length: meta.plan.lanes }, (_, lane) => lane);
  valConsumer ??= Consumer.open({ transport, run, meta, lanes, fromStep: meta.plan.steps, prefetchBytes });
  return valConsumer;
}

/** Joins chunks in order into one set of contiguous arrays. */
function join(chunks: readonly RecordTensors[]): GroupSamples {
  const samples = chunks.reduce((sum, chunk) => sum + chunk.labelA.length, 0);
  const pixels = chunks.reduce((sum, chunk) => sum + chunk.images.length, 0);
  const joined: GroupSamples = {
    samples,
    images: new Uint8Array(pixels),
    labelA: new Int32Array(samples),
    labelB: new Int32Array(samples),
    lam: new Float32Array(samples),
  };
  let image = 0;
  let sample = 0;
  for (const chunk of chunks) {
    joined.images.set(chunk.images, image);
    joined.labelA.set(chunk.labelA, sample);
    joined.labelB.set(chunk.labelB, sample);
    joined.lam.set(chunk.lam, sample);
    image += chunk.images.length;
    sample += chunk.labelA.length;
  }
  return joined;
}

function batchOf(lanes: readonly LaneStep[]): FeedBatch {
  const perGroup = lanes.length / groups;
  return {
    step: (lanes[0] as LaneStep).step,
    writtenAt: Math.max(...lanes.map(({ writtenAt }) => writtenAt)),
    groups: Array.from({ length: groups }, (_, group) =>
      join(lanes.slice(group * perGroup, (group + 1) * perGroup).flatMap(({ chunks }) => chunks)),
    ),
  };
}

const tell = (message: string) => port.postMessage({ event: message } satisfies FeedReply);

/** Opens the log, waiting for one that no producer has begun: a reader makes none, lest a mistyped path look like a run. */
async function openWhenThere(url: string, until: number): Promise<Transport> {
  for (let told = false; ; told = true) {
    try {
      return await openTransport(url, { create: false, onEvent: tell });
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== 'log-missing' || performance.now() >= until) throw error;
    }
    if (!told) tell(`waiting for a producer to begin ${url}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

const methods: FeedMethods = {
  async join(options) {
    run = options.run;
    const until = performance.now() + options.waitMs;
    transport = await openWhenThere(options.transport, until);
    return awaitRun(transport, run, Math.max(0, until - performance.now()), tell);
  },
  async start(options) {
    if (!transport) throw new Error('join the run first');
    const { meta, fromStep, lanes, prefetchBytes } = options;
    groups = options.groups;
    if (lanes.length < meta.plan.lanes) valOptions = options;
    consumer = await Consumer.open({ transport, run, meta, lanes, fromStep, prefetchBytes });
  },
  async next() {
    const lanes = await opened().next();
    const batch = lanes && batchOf(lanes);
    for (const { release } of lanes ?? []) release();
    return batch;
  },
  async evaluate({ resolution }) {
    evaluation ??= { resolution, chunks: (await openVal()).evaluation(resolution) };
    const { done, value } = await evaluation.chunks.next();
    if (done) evaluation = undefined;
    return done ? null : join([value]);
  },
  async report(progress) {
    if (transport) await reportProgress(transport, run, progress);
  },
  async forgetRanks({ trainer, ranks }) {
    if (!transport) throw new Error('join the run first');
    const watch = await ProgressWatch.open(transport, run);
    try {
      if (watch.trainers.some((known) => known.trainer === trainer && known.rank >= ranks)) await watch.forget(trainer);
    } finally {
      await watch.close();
    }
  },
  async counters() {
    const { skipped, seeks, bytes } = opened().counters;
    const val = (await valConsumer)?.counters ?? { skipped: 0, seeks: 0, bytes: 0 };
    const sums = { skipped: skipped + val.skipped, seeks: seeks + val.seeks, bytes: bytes + val.bytes };
    return { ...sums, ...transport?.counters };
  },
  async close() {
    // At once: a lane may be asking a log that is gone, for as long as its patience, until the log is closed.
    const closeVal = valConsumer?.then((val) => val.close());
    const ends = await Promise.allSettled([consumer?.close(), closeVal, transport?.close()]);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  },
};

/** The buffers of a reply that may move to the other thread. */
function buffersOf(value: unknown): ArrayBuffer[] {
  const groupsOf = (reply: FeedBatch | GroupSamples) => ('groups' in reply ? reply.groups : [reply]);
  if (value === null || typeof value !== 'object' || !('groups' in value || 'images' in value)) return [];
  return groupsOf(value as FeedBatch | GroupSamples).flatMap(({ images, labelA, labelB, lam }) => [
    images.buffer,
    labelA.buffer,
    labelB.buffer,
    lam.buffer,
  ]);
}

port.on('message', async ({ id, method, argument }: FeedRequest) => {
  try {
    const call = methods[method] as (argument: unknown) => Promise<unknown>;
    const value = await call(argument);
    port.postMessage({ id, value } satisfies FeedReply, buffersOf(value));
  } catch (error) {
    const fault = error instanceof Fault ? error.toJSON() : undefined;
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    port.postMessage({ id, fault, stack } satisfies FeedReply);
  }
  if (method === 'close') port.close();
});
