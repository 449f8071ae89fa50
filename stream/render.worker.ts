// The pool's worker: renders chunks, one at a time. Expected failures return as values: a class does not survive the
// way between threads.

import { move, transferableSymbol, valueSymbol } from 'piscina';
import { Fault, type FaultDetails, ShardFiles } from '#shards';
import { type ChunkTask, renderChunk, type StageTimes } from './render.ts';

export interface RenderRequest {
  /** Folder of the packed dataset. */
  readonly shards: string;
  readonly task: ChunkTask;
}

export type RenderReply =
  | { readonly ok: true; readonly bytes: Uint8Array<ArrayBuffer>; readonly times: StageTimes }
  | { readonly ok: false; readonly fault: FaultDetails };

const open = new Map<string, ShardFiles>();

export default function render({ shards, task }: RenderRequest): RenderReply {
  let files = open.get(shards);
  if (!files) {
    files = new ShardFiles(shards);
    open.set(shards, files);
  }
  const from = files;
  try {
    const { bytes, times } = renderChunk(task, (location) => from.readSync(location));
    const reply: RenderReply = { ok: true, bytes, times };
    return move({ [transferableSymbol]: bytes.buffer, [valueSymbol]: reply }) as unknown as RenderReply;
  } catch (error) {
    if (error instanceof Fault) return { ok: false, fault: error.toJSON() };
    throw error;
  }
}
