// The pool's worker: renders chunks, one at a time. Expected failures return as values: a class does not survive the
// way between threads.

import { move, transferableSymbol, valueSymbol } from 'piscina';
import { Fault, type FaultDetails, ShardFiles } from '#shards';
import { type ChunkTask, type Rendered, renderChunk } from './render.ts';

export interface RenderRequest {
  /** Folder of the packed dataset. */
  readonly shards: string;
  readonly task: ChunkTask;
}

export type RenderReply =
  | ({ readonly ok: true } & Omit<Rendered, 'tensors'>)
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

export default async function render({ shards, task }: RenderRequest): Promise<RenderReply> {
  let files = open.get(shards);
  if (!files) {
    files = new ShardFiles(shards);
    open.set(shards, files);
  }
  const from = files;
  try {
    const { tensors: _, ...rendered } = await renderChunk(task, (location) =>
      from.readSync(location, roomFor(location.bytes)),
    );
    const reply: RenderReply = { ok: true, ...rendered };
    return move({ [transferableSymbol]: rendered.bytes.buffer, [valueSymbol]: reply }) as unknown as RenderReply;
  } catch (error) {
    if (error instanceof Fault) return { ok: false, fault: error.toJSON() };
    throw error;
  }
}
