// Checks one shard of one bucket: its index, DALI's index and the tar, every byte of each. Runs in a pool's worker.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeIndex, Fault, type ShardEntry, type ShardIndex, type Split } from '#shards';
import { DamageList } from './damage.ts';
import { type HashedPath, hashIsRight, type Tally } from './hashed-file.ts';
import { checkRows, liesInOrder, type ShardRange } from './rows.ts';
import { checkTar } from './tar.ts';

/** What a shard must be, by the manifest. Plain values: it is sent to a worker. */
export interface ShardTask {
  /** The dataset's folder. */
  readonly dir: string;
  readonly split: Split;
  readonly shortSide: number;
  readonly entry: ShardEntry;
  readonly range: ShardRange;
  /** The class folders' names by label. */
  readonly wnids: readonly string[];
  /** Decode every JPEG. */
  readonly deep: boolean;
}

export interface ShardReport extends Tally {
  readonly damages: Pick<DamageList, 'kept' | 'count'>;
  /** Whose three members are what the index says. */
  readonly samples: number;
  /** Stored with a shorter side than the bucket's; null where the index cannot be read. */
  readonly small: number | null;
  /** SHA-256 of every sample's position, label and source, to compare buckets by; null where not all could be read. */
  readonly content: string | null;
}

/** Synchronous: a worker has nothing else to do. */
export function checkShard(task: ShardTask): ShardReport {
  const { dir, entry, range, wnids, shortSide, split } = task;
  const { file, indexSha256, idxSha256 } = entry;
  const damages = new DamageList();
  const tally: Tally = { files: 0, bytes: 0 };
  const indexFile = file.replace(/\.tar$/, '.index.safetensors');
  const idxFile = file.replace(/\.tar$/, '.idx');
  const index = parseIndex(
    readRight({ dir, file: indexFile, sha256: indexSha256 }, damages, tally),
    indexFile,
    damages,
  );
  const idx = readRight({ dir, file: idxFile, sha256: idxSha256 }, damages, tally);
  let small: number | null = null;
  if (index) {
    checkIdentity(index, entry, indexFile, damages);
    small = checkRows(index, { range, classes: wnids.length, shortSide, square: split === 'val' }, indexFile, damages);
  }
  const walkable = index && liesInOrder(index, entry.bytes, indexFile, damages) ? index : null;
  const indexes = { index: walkable, idx: idx?.toString('latin1') ?? null, idxFile };
  const { samples, content } = checkTar(task, indexes, damages, tally);
  const { kept, count } = damages;
  return { damages: { kept, count }, ...tally, samples, small, content };
}

/** A small file whole, once its hash is known to be right; what is damaged may be of any size and is not kept. */
function readRight(hashed: HashedPath, damages: DamageList, tally: Tally): Buffer | null {
  return hashIsRight(hashed, damages, tally) ? readFileSync(join(hashed.dir, hashed.file)) : null;
}

function parseIndex(text: Buffer | null, file: string, damages: DamageList): ShardIndex | null {
  if (!text) return null;
  try {
    return decodeIndex(text);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    damages.add({ file, what: error.code, expected: error.expected, received: error.received });
    return null;
  }
}

function checkIdentity(index: ShardIndex, entry: ShardEntry, file: string, damages: DamageList): void {
  const name = entry.file.slice(entry.file.indexOf('/') + 1);
  if (index.shard !== name) damages.add({ file, what: 'shard', expected: name, received: index.shard });
  if (index.samples !== entry.samples)
    damages.add({ file, what: 'samples', expected: `${entry.samples}`, received: `${index.samples}` });
}
