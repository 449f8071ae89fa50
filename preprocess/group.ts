// What packing one group gave: its shards in every bucket and its rejects. One file a finished group, which is written
// after the shards are durable: what has such a record is done.

import { Fault, type ShardEntry, shardStem } from '#shards';
import type { Group } from './job.ts';
import type { Reject } from './rejects.ts';
import { seal, unseal } from './sealed.ts';

export interface GroupRecord extends Group {
  readonly samples: number;
  /** Samples that libjpeg-turbo and sharp decoded: not the decoder of our own. */
  readonly viaTurbo: number;
  readonly viaSharp: number;
  readonly rejects: readonly Reject[];
  /** One a bucket, by ascending resolution. */
  readonly buckets: readonly GroupShard[];
}

export interface GroupShard {
  readonly resolution: number;
  readonly notEnlarged: number;
  readonly shard: ShardEntry;
}

/** `train-000012` */
export const groupName = ({ split, ordinal }: Group): string => shardStem(split, ordinal);

export function encodeGroup(record: GroupRecord): string {
  return seal(record);
}

/** @throws Fault `state-damaged` */
export function decodeGroup(text: string, path: string): GroupRecord {
  const record = unseal(text);
  if (record) return record as unknown as GroupRecord;
  throw new Fault({
    code: 'state-damaged',
    received: `${path} is no record of a finished group`,
    expected: 'what preprocess wrote',
    remedy: 'remove that file: its shards are packed again',
  });
}
