// The list of sources, on disk: a million of them cost no more memory than a hundred.
//
//   SPLIT.places   := F64 …                          where each source's record begins, little-endian as all of it
//   SPLIT.sources  := record*
//   record         := label U32, pathBytes U16, fileBytes U16, offset F64, bytes F64, path, file         UTF-8

import { createHash, type Hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { readAtSync, type SourceEntry, type Split } from '#shards';

const HEAD_BYTES = 24;
const PLACE_BYTES = 8;
/** Collected before it is written; more than two names can have. */
const BUFFER_BYTES = 256 * 1024;
/** Read at once: nearly every record fits. */
const READ_BYTES = 512;

export interface SourceList {
  readonly count: number;
  /** Of the lines `path TAB label`: what is packed, wherever it lies. */
  readonly sha256: string;
}

/** Writes one split's list; memory holds half a MiB. */
export class CatalogueWriter {
  readonly #records: BufferedFile;
  readonly #places: BufferedFile;
  readonly #hash: Hash = createHash('sha256');
  #count = 0;

  constructor(dir: string, split: Split) {
    this.#records = new BufferedFile(join(dir, `${split}.sources`));
    this.#places = new BufferedFile(join(dir, `${split}.places`));
  }

  add({ path, label, file, offset, bytes }: SourceEntry): void {
    const names = [Buffer.from(path), Buffer.from(file)];
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt32LE(label, 0);
    names.forEach(({ length }, i) => {
      head.writeUInt16LE(length, 4 + 2 * i);
    });
    head.writeDoubleLE(offset, 8);
    head.writeDoubleLE(bytes, 16);
    const place = Buffer.alloc(PLACE_BYTES);
    place.writeDoubleLE(this.#records.end);
    this.#places.append(place);
    for (const part of [head, ...names]) this.#records.append(part);
    this.#hash.update(`${path}\t${label}\n`);
    this.#count++;
  }

  /** Writes what is left. */
  finish(): SourceList {
    this.#records.flush();
    this.#places.flush();
    return { count: this.#count, sha256: this.#hash.digest('hex') };
  }

  close(): void {
    this.#records.close();
    this.#places.close();
  }
}

class BufferedFile {
  end = 0;
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #held = 0;

  constructor(path: string) {
    this.#fd = openSync(path, 'w');
  }

  append(data: Buffer): void {
    if (this.#held + data.length > BUFFER_BYTES) this.flush();
    this.#held += data.copy(this.#buffer, this.#held);
    this.end += data.length;
  }

  close(): void {
    closeSync(this.#fd);
  }

  flush(): void {
    for (let done = 0; done < this.#held; ) done += writeSync(this.#fd, this.#buffer, done, this.#held - done);
    this.#held = 0;
  }
}

/** One split's list, read at random. */
export class Catalogue {
  readonly #records: number;
  readonly #places: number;
  readonly #count: number;

  constructor(dir: string, split: Split) {
    this.#records = openSync(join(dir, `${split}.sources`), 'r');
    this.#places = openSync(join(dir, `${split}.places`), 'r');
    this.#count = fstatSync(this.#places).size / PLACE_BYTES;
  }

  /** @throws RangeError outside the list: the caller's defect */
  at(index: number): SourceEntry {
    if (!Number.isInteger(index) || index < 0 || index >= this.#count)
      throw new RangeError(`source ${index} of ${this.#count}`);
    const place = read(this.#places, index * PLACE_BYTES, PLACE_BYTES).readDoubleLE();
    let record = read(this.#records, place, READ_BYTES);
    const pathBytes = record.readUInt16LE(4);
    const end = HEAD_BYTES + pathBytes + record.readUInt16LE(6);
    if (record.length < end) record = read(this.#records, place, end);
    return {
      label: record.readUInt32LE(0),
      path: record.toString('utf8', HEAD_BYTES, HEAD_BYTES + pathBytes),
      file: record.toString('utf8', HEAD_BYTES + pathBytes, end),
      offset: record.readDoubleLE(8),
      bytes: record.readDoubleLE(16),
    };
  }

  close(): void {
    closeSync(this.#records);
    closeSync(this.#places);
  }
}

/** As many bytes as there are, at most `bytes`. */
function read(fd: number, place: number, bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(bytes);
  return buffer.subarray(0, readAtSync(fd, buffer, place));
}
