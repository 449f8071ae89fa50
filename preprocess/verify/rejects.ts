// Checks rejects.jsonl: its hash, its lines, and that they agree with the manifest's counts.

import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { canonicalJson, type Manifest, SPLITS, type Split } from '#shards';
import { REJECT_CODES, REJECTS_FILE, type Reject } from '../rejects.ts';
import type { DamageList } from './damage.ts';
import { hashIsRight, type Tally } from './hashed-file.ts';

/** Positions without a sample, by the ordinal of the shard that they would be in; 8 bytes of memory each. */
export type RejectedPositions = Readonly<Record<Split, ReadonlyMap<number, readonly number[]>>>;

/** Null where the file is damaged. */
export async function checkRejects(
  dir: string,
  { rejects, splits, shardSamples }: Manifest,
  damages: DamageList,
  tally: Tally,
): Promise<RejectedPositions | null> {
  const wrong = (what: string, expected: string, received: string): void =>
    damages.add({ file: REJECTS_FILE, what, expected, received });
  if (!hashIsRight({ dir, file: REJECTS_FILE, sha256: rejects.sha256 }, damages, tally)) return null;
  const positions = { train: new Map<number, number[]>(), val: new Map<number, number[]>() };
  const counts = { train: 0, val: 0 };
  const byCode: Record<string, number> = {};
  const lines = createInterface({
    input: createReadStream(join(dir, REJECTS_FILE)),
    crlfDelay: Number.POSITIVE_INFINITY,
  });
  let last = -1;
  let number = 0;
  for await (const line of lines) {
    number++;
    const reject = parse(line);
    if (!reject) {
      wrong(`line ${number}`, 'canonical JSON of code, position, reason, source, split', line);
      continue;
    }
    const { split, position, code } = reject;
    const rank = SPLITS.indexOf(split) * 2 ** 32 + position;
    const limit = splits[split].positions;
    if (rank <= last || position >= limit)
      wrong(`position in line ${number}`, `ascending ones below ${limit}, train first`, `${split} ${position}`);
    last = rank;
    const shard = Math.floor(position / shardSamples);
    const others = positions[split].get(shard);
    if (others) others.push(position);
    else positions[split].set(shard, [position]);
    counts[split]++;
    byCode[code] = (byCode[code] ?? 0) + 1;
  }
  const counted = canonicalJson({ count: number, byCode });
  const claimed = canonicalJson({ count: rejects.count, byCode: rejects.byCode });
  if (counted !== claimed) wrong('count by code', claimed, counted);
  for (const split of SPLITS) {
    const missing = splits[split].positions - splits[split].samples;
    if (counts[split] !== missing) wrong(`rejects of ${split}`, `${missing}`, `${counts[split]}`);
  }
  return positions;
}

function parse(line: string): Reject | null {
  try {
    const reject = JSON.parse(line) as Reject;
    const { code, position, reason, source, split } = reject;
    const right =
      REJECT_CODES.includes(code) &&
      SPLITS.includes(split) &&
      Number.isSafeInteger(position) &&
      position >= 0 &&
      typeof reason === 'string' &&
      typeof source === 'string' &&
      canonicalJson({ code, position, reason, source, split }) === line;
    return right ? reject : null;
  } catch {
    return null;
  }
}
