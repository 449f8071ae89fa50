// Writes one shard of one bucket: the tar, its index and DALI's.

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { canonicalJson } from './canonical.ts';
import { writeFileDurably } from './durable.ts';
import type { ShardEntry } from './manifest.ts';
import { daliIndex, daliLine, IndexColumns } from './offsets.ts';
import { type PackedSample, type Split, shardStem } from './sample.ts';
import { TarWriter } from './tar.ts';

export interface ShardName {
  readonly resolution: number;
  readonly split: Split;
  readonly ordinal: number;
}

export class ShardWriter {
  readonly #dir: string;
  /** Path from the packed dataset's root, without a suffix. */
  readonly #path: string;
  readonly #tar: TarWriter;
  readonly #index = new IndexColumns();
  readonly #idx: string[] = [];

  private constructor(dir: string, path: string, tar: TarWriter) {
    this.#dir = dir;
    this.#path = path;
    this.#tar = tar;
  }

  /** Begins `DIR/RESOLUTION/SPLIT-ORDINAL.tar`; the folder must exist. */
  static async create(dir: string, { resolution, split, ordinal }: ShardName): Promise<ShardWriter> {
    const path = `${resolution}/${shardStem(split, ordinal)}`;
    return new ShardWriter(dir, path, await TarWriter.create(join(dir, `${path}.tar`)));
  }

  /** Appends KEY.jpg, KEY.cls and KEY.json. */
  async add({ jpg, ...info }: PackedSample): Promise<void> {
    const { key, label, width, height, position } = info;
    const clsText = Buffer.from(String(label));
    const jsonText = Buffer.from(canonicalJson(info));
    const image = await this.#tar.append(`${key}.jpg`, jpg);
    const cls = await this.#tar.append(`${key}.cls`, clsText);
    const json = await this.#tar.append(`${key}.json`, jsonText);
    this.#idx.push(daliLine([image, cls, json]));
    this.#index.add({
      offset: image.offset,
      bytes: image.bytes,
      jsonBytes: json.bytes,
      label,
      width,
      height,
      position,
      sha256: sha256Of(jpg),
      clsSha256: sha256Of(clsText),
      jsonSha256: sha256Of(jsonText),
    });
  }

  /** Makes the three files durable and returns the manifest's entry. */
  async finish(): Promise<ShardEntry> {
    const { bytes, sha256 } = await this.#tar.finish();
    const file = `${this.#path}.tar`;
    const index = this.#index.encode(file.slice(file.indexOf('/') + 1));
    const idx = daliIndex(this.#idx);
    await writeFileDurably(join(this.#dir, `${this.#path}.index.safetensors`), index);
    await writeFileDurably(join(this.#dir, `${this.#path}.idx`), idx);
    return {
      file,
      samples: this.#index.samples,
      bytes,
      sha256,
      indexSha256: sha256Of(index).toString('hex'),
      idxSha256: sha256Of(idx).toString('hex'),
    };
  }

  async abort(): Promise<void> {
    await this.#tar.abort();
  }
}

function sha256Of(data: string | Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}
