// Walks through a shard's tar once: the file's hash, each member's, and what a wrong writer could have written.

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { BLOCK, canonicalJson, daliIndex, daliLine, type MemberPlace, type ShardIndex, sampleKey } from '#shards';
import { asReadDamage, DamageList } from './damage.ts';
import { HashedFile, type Tally } from './hashed-file.ts';
import { jpegComplaint } from './jpeg.ts';
import { endOf, type Place, placesOf } from './rows.ts';
import type { ShardTask } from './shard.ts';

export interface TarIndexes {
  /** Whose places lie in order inside a tar of the manifest's length; null: the file's own hash is all that is checked. */
  readonly index: ShardIndex | null;
  /** DALI's, whose hash is right; null where it is not, and keys come from the tar's headers. */
  readonly idx: string | null;
  readonly idxFile: string;
}

export interface TarReport {
  readonly samples: number;
  readonly content: string | null;
}

const SUFFIXES = ['jpg', 'cls', 'json'] as const;
type Suffix = (typeof SUFFIXES)[number];
const HASHES = { jpg: 'sha256', cls: 'clsSha256', json: 'jsonSha256' } as const;

export function checkTar(task: ShardTask, indexes: TarIndexes, damages: DamageList, tally: Tally): TarReport {
  const { file, bytes, sha256 } = task.entry;
  let tar: HashedFile | null = null;
  let report: TarReport = { samples: 0, content: null };
  try {
    tar = new HashedFile(join(task.dir, file), bytes);
    tally.files++;
    const before = damages.count;
    const walk = new Walk(task, tar, indexes, damages);
    walk.run();
    report = walk;
    const received = tar.finish();
    if (tar.size !== bytes)
      damages.add({
        file,
        ...walk.cut,
        what: tar.size < bytes ? 'cut off' : 'longer than it was',
        expected: `${bytes} bytes`,
        received: `${tar.size}`,
      });
    // What the walk found in the members says more than the file's hash; what it found in the headers does not.
    if (received === sha256) damages.addAll(walk.headers);
    else if (damages.count === before) damages.add({ file, what: 'sha256', expected: sha256, received });
  } catch (error) {
    damages.add({ ...asReadDamage(error, file), ...(tar && { offset: tar.at }) });
  } finally {
    tally.bytes += tar?.bytesRead ?? 0;
    tar?.close();
  }
  return report;
}

class Walk implements TarReport {
  samples = 0;
  content: string | null = null;
  /** Told where the tar's hash is right. */
  readonly headers = new DamageList();
  /** The member in which the file ends. */
  cut: { readonly key?: string; readonly offset?: number } = {};
  readonly #task: ShardTask;
  readonly #tar: HashedFile;
  readonly #indexes: TarIndexes;
  readonly #damages: DamageList;

  constructor(task: ShardTask, tar: HashedFile, indexes: TarIndexes, damages: DamageList) {
    this.#task = task;
    this.#tar = tar;
    this.#indexes = indexes;
    this.#damages = damages;
  }

  run(): void {
    const { index, idx } = this.#indexes;
    if (!index) return;
    const keys = idx === null ? null : keysOf(idx);
    const members: MemberPlace[][] = [];
    const content = createHash('sha256');
    for (let i = 0; i < index.samples; i++) {
      const sample = this.#sample(index, i, keys?.[i]);
      if (sample === 'cut') return;
      if (!sample) continue;
      this.samples++;
      const { jpg, cls, json } = placesOf(index, i);
      const place = (suffix: Suffix, at: Place): MemberPlace => ({ name: `${sample.key}.${suffix}`, ...at });
      members.push([place('jpg', jpg), place('cls', cls), place('json', json)]);
      content.update(`${index.position[i]}\t${index.label[i]}\t${sample.source}\n`);
    }
    if (this.samples < index.samples) return;
    this.content = content.digest('hex');
    if (idx !== null) this.#compareIdx(idx, daliIndex(members.map(daliLine)));
  }

  /** The key and source of a sample whose members are all right; null of another; 'cut' where the file ends first. */
  #sample(index: ShardIndex, i: number, named: string | undefined): SampleName | null | 'cut' {
    const places = placesOf(index, i);
    let key = named;
    let source: string | null = null;
    let sound = true;
    for (const suffix of SUFFIXES) {
      const place = places[suffix];
      const at = (): { key?: string; offset: number } => ({ ...(key !== undefined && { key }), offset: place.offset });
      const header = this.#tar.take(BLOCK);
      if (header) {
        key ??= /^([^.]+)\./.exec(headerName(header))?.[1];
        const expected = headerText(`${key}.${suffix}`, place.bytes);
        const received = readHeader(header);
        if (received !== expected)
          this.headers.add({ file: this.#task.entry.file, ...at(), what: `header of .${suffix}`, expected, received });
      }
      const payload = header && this.#tar.take(place.bytes);
      // Padding holds nothing; the file's hash covers it.
      if (!payload || !this.#tar.take(endOf(place) - place.offset - place.bytes)) {
        this.cut = at();
        return 'cut';
      }
      const damage = this.#payload(index, i, suffix, payload);
      if (damage) this.#damages.add({ file: this.#task.entry.file, ...at(), ...damage });
      if (damage) sound = false;
      else if (suffix === 'json') source = sourceOf(payload);
    }
    if (!sound || source === null) return null;
    return { key: sampleKey(index.position[i] as number, source), source };
  }

  /** What is wrong with a member's bytes. */
  #payload(index: ShardIndex, i: number, suffix: Suffix, payload: Buffer): Complaint | null {
    const expected = Buffer.from(index[HASHES[suffix]].subarray(32 * i, 32 * i + 32)).toString('hex');
    const received = createHash('sha256').update(payload).digest('hex');
    if (received !== expected) return { what: `sha256 of .${suffix}`, expected, received };
    if (suffix === 'jpg') return this.#task.deep ? this.#image(index, i, payload) : null;
    const text = payload.toString('utf8');
    const source = suffix === 'json' ? (sourceOf(payload) ?? '') : null;
    const right = source === null ? String(index.label[i]) : this.#json(index, i, source);
    if (text !== right) return { what: `text of .${suffix}`, expected: right, received: text };
    // Sources are SPLIT/WNID/…: a label that does not fit is a wrong one.
    const folder = `${this.#task.split}/${this.#task.wnids[index.label[i] as number]}/`;
    return source === null || source.startsWith(folder)
      ? null
      : { what: 'source in .json', expected: `${folder}…`, received: source };
  }

  #image({ width, height }: ShardIndex, i: number, jpeg: Buffer): Complaint | null {
    const [w, h] = [width[i] as number, height[i] as number];
    const received = jpegComplaint(jpeg, w, h);
    return received === null
      ? null
      : { what: 'image', expected: `a baseline JPEG of 3 channels, ${w} × ${h}`, received };
  }

  /** What `KEY.json` must be, given the source that it names. */
  #json({ position, label, width, height }: ShardIndex, i: number, source: string): string {
    const [at, of] = [position[i] as number, label[i] as number];
    const wnid = this.#task.wnids[of] ?? '';
    return canonicalJson({
      key: sampleKey(at, source),
      label: of,
      wnid,
      width: width[i],
      height: height[i],
      source,
      position: at,
    });
  }

  #compareIdx(text: string, right: string): void {
    if (text === right) return;
    const [lines, expected] = [text, right].map((each) => each.split('\n')) as [string[], string[]];
    const at = expected.findIndex((line, i) => line !== lines[i]);
    const line = Math.max(at, 0);
    this.#damages.add({
      file: this.#indexes.idxFile,
      what: `line ${line + 1}`,
      expected: expected[line] as string,
      received: lines[line] ?? 'its end',
    });
  }
}

interface SampleName {
  readonly key: string;
  readonly source: string;
}

interface Complaint {
  readonly what: string;
  readonly expected: string;
  readonly received: string;
}

/** The keys in DALI's index, by sample. */
function keysOf(idx: string): string[] {
  const lines = idx.split('\n').slice(1, -1);
  return lines.map((line) => / ([^ .]+)\.json$/.exec(line)?.[1] ?? '');
}

/** The `source` of a `KEY.json`; null where it is no such text. */
function sourceOf(payload: Buffer): string | null {
  try {
    const { source } = JSON.parse(payload.toString('utf8')) as { source?: unknown };
    return typeof source === 'string' ? source : null;
  } catch {
    return null;
  }
}

// A USTAR header: name at byte 0 (100 bytes), size at 124 (12, octal), checksum at 148 (8, octal), type at 156 (1).

function headerName(header: Buffer): string {
  const end = header.indexOf(0);
  return header.toString('latin1', 0, Math.min(end < 0 ? 100 : end, 100));
}

function headerText(name: string, bytes: number): string {
  return `${name} of ${bytes} bytes, type 0, checksum right`;
}

function readHeader(header: Buffer): string {
  const octal = (from: number, to: number): number => Number.parseInt(header.toString('latin1', from, to), 8);
  // The checksum is the sum of all bytes, its own eight counted as spaces.
  let sum = 8 * 0x20;
  for (let at = 0; at < BLOCK; at++) if (at < 148 || at >= 156) sum += header[at] as number;
  const type = String.fromCharCode(header[156] as number);
  const checksum = octal(148, 156) === sum ? 'right' : 'wrong';
  return `${headerName(header)} of ${octal(124, 136)} bytes, type ${type}, checksum ${checksum}`;
}
