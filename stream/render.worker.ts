// The pool's worker: renders chunks, one at a time. Expected failures return as values: a class does not survive the
// way between threads.

import { move, transferableSymbol, valueSymbol } from 'piscina';
import { Fault, type FaultDetails, type SampleLocation, ShardFiles } from '#shards';
import type { DecoderChoice } from './decode.ts';
import { type ChunkTask, type Rendered, renderChunk } from './render.ts';

export interface RenderRequest {
  /** Folder of the packed dataset. */
  readonly shards: string;
  readonly decoder: DecoderChoice;
  readonly task: ChunkTask;
  /** Of an earlier record; moved here, and back with this one. */
  readonly memory: ArrayBuffer | undefined;
}

export type RenderReply =
  /** `fresh`: the record is in new memory. */
  | ({ readonly ok: true; readonly fresh: boolean } & Omit<Rendered, 'tensors'>)
  | { readonly ok: false; readonly fault: FaultDetails };

const open = new Map<string, ShardFiles>();

/** A larger sample gets memory of its own. */
const KEEP_BYTES = 16 * 1024 * 1024;
let sampleBytes = Buffer.alloc(0);

/** Room for a sample's file; the next call gives the same. */
function roomFor(bytes: number): Buffer {
  if (bytes <= sampleBytes.length) return sampleBytes;
  if (bytes > KEEP_BYTES) return Buffer.allocUnsafeSlow(bytes);
  sampleBytes = Buffer.allocUnsafeSlow(Math.min(KEEP_BYTES, 2 * bytes));
  return sampleBytes;
}

let last: Promise<unknown> = Promise.resolve();

/** Another task may stand ready here, but one at a time is rendered: while sharp decodes, nobody may read into its file. */
export default function render(request: RenderRequest): Promise<RenderReply> {
  const rendering = last.then(() => renderAlone(request));
  last = rendering.catch(() => undefined);
  return rendering;
}

async function renderAlone({ shards, decoder, task, memory }: RenderRequest): Promise<RenderReply> {
  let files = open.get(shards);
  if (!files) {
    files = new ShardFiles(shards);
    open.set(shards, files);
  }
  const from = files;
  try {
    const read = (location: SampleLocation) => from.readSync(location, roomFor(location.bytes));
    const { tensors: _, ...rendered } = await renderChunk(task, read, { memory, decoder });
    const { buffer } = rendered.bytes;
    const reply: RenderReply = { ok: true, fresh: buffer !== memory, ...rendered };
    return move({ [transferableSymbol]: buffer, [valueSymbol]: reply }) as unknown as RenderReply;
  } catch (error) {
    if (error instanceof Fault) return { ok: false, fault: error.toJSON() };
    throw error;
  }
}
