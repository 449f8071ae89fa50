// What a shard's index says of its samples, held against the manifest and the rejects: what a wrong writer could write
// with sound hashes.

import { BLOCK, type ShardIndex } from '#shards';
import type { DamageList } from './damage.ts';

/** The source positions of a shard: [begin, end), and those in it that `rejects.jsonl` names, ascending. */
export interface ShardRange {
  readonly begin: number;
  readonly end: number;
  readonly rejected: readonly number[];
}

export interface RowLimits {
  readonly range: ShardRange;
  readonly classes: number;
  readonly shortSide: number;
  /** Only the central square was kept. */
  readonly square: boolean;
}

/** Positions, labels and sizes. Returns how many samples have a shorter side than the bucket's. */
export function checkRows(
  { samples, position, label, width, height }: ShardIndex,
  { range, classes, shortSide, square }: RowLimits,
  file: string,
  damages: DamageList,
): number {
  const rejected = new Set(range.rejected);
  let small = 0;
  let last = range.begin - 1;
  for (let i = 0; i < samples; i++) {
    const [at, of, w, h] = [position, label, width, height].map((column) => column[i] as number) as Row;
    const wrong = (what: string, expected: string, received: string): void =>
      damages.add({ file, what: `${what} of sample ${i}`, expected, received });
    if (at <= last || at >= range.end) wrong('position', `one of ${last + 1} … ${range.end - 1}`, `${at}`);
    else if (rejected.has(at)) wrong('position', 'none of a rejected source', `${at}`);
    if (of < 0 || of >= classes) wrong('label', `one of 0 … ${classes - 1}`, `${of}`);
    const short = Math.min(w, h);
    if (short < 1 || short > shortSide) wrong('short side', `1 … ${shortSide} px`, `${w} × ${h}`);
    if (square && w !== h) wrong('size', 'a square', `${w} × ${h}`);
    if (short < shortSide) small++;
    last = Math.max(last, at);
  }
  return small;
}

type Row = [position: number, label: number, width: number, height: number];

/** A member's place in the tar, bytes. */
export interface Place {
  readonly offset: number;
  readonly bytes: number;
}

export interface SamplePlaces {
  readonly jpg: Place;
  readonly cls: Place;
  readonly json: Place;
  /** Where the next sample's first header begins. */
  readonly end: number;
}

/** Where the members of sample `i` lie: the index holds the JPEG's offset, the others follow block by block. */
export function placesOf({ offset, bytes, label, jsonBytes }: ShardIndex, i: number): SamplePlaces {
  const jpg = { offset: offset[i] as number, bytes: bytes[i] as number };
  const cls = { offset: endOf(jpg) + BLOCK, bytes: String(label[i]).length };
  const json = { offset: endOf(cls) + BLOCK, bytes: jsonBytes[i] as number };
  return { jpg, cls, json, end: endOf(json) };
}

/** The end of a member's last block. */
export function endOf({ offset, bytes }: Place): number {
  return offset + Math.ceil(bytes / BLOCK) * BLOCK;
}

/** Whether the members follow one another without gaps up to the two blocks that end a tar of `tarBytes`. */
export function liesInOrder(index: ShardIndex, tarBytes: number, file: string, damages: DamageList): boolean {
  let end = 0;
  for (let i = 0; i < index.samples; i++) {
    const places = placesOf(index, i);
    const { jpg, json } = places;
    if (jpg.offset !== end + BLOCK || jpg.bytes < 0 || json.bytes < 0) {
      const received = `${jpg.bytes} at byte ${jpg.offset}, ${json.bytes} of its .json`;
      damages.add({ file, what: `place of sample ${i}`, expected: `bytes from byte ${end + BLOCK}`, received });
      return false;
    }
    end = places.end;
  }
  if (end + 2 * BLOCK === tarBytes) return true;
  damages.add({ file, what: 'end of the last sample', expected: `byte ${tarBytes - 2 * BLOCK}`, received: `${end}` });
  return false;
}
