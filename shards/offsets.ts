// Where the samples of a shard lie: our own index, DALI's and WebDataset's.
//
//   NAME.index.safetensors   offset I64 [n], bytes I32 [n] of each JPEG in the tar; label, width, height, position,
//                            jsonBytes I32 [n]; sha256, clsSha256, jsonSha256 U8 [n, 32] of the members' bytes;
//                            metadata {format, shard}
//   NAME.idx                 DALI's `wds2idx` v1.2: "v1.2 n", then a line a sample: "ext offset bytes name" a member
//   SPLIT.json               `wids-shard-index-v1`: the shards of a split with their sample counts, urls from the file

import { canonicalJson } from './canonical.ts';
import { Fault } from './errors.ts';
import { decodeTensors, encodeTensors, type RawTensor, type TensorFile, valuesOf } from './safetensors.ts';
import type { PackedSample } from './sample.ts';
import type { MemberPlace } from './tar.ts';

export const INDEX_FORMAT = 'medium-recipe/index@2';

/** One sample as the index keeps it; `offset` and `bytes` are of the JPEG inside the tar, each hash has 32 bytes. */
export type IndexRow = Pick<PackedSample, 'label' | 'width' | 'height' | 'position'> & {
  readonly offset: number;
  readonly bytes: number;
  /** Length of KEY.json. */
  readonly jsonBytes: number;
  readonly sha256: Uint8Array;
  readonly clsSha256: Uint8Array;
  readonly jsonSha256: Uint8Array;
};

/** A shard's index as columns of n entries; each column of hashes has n × 32 bytes. */
export interface ShardIndex {
  readonly shard: string;
  readonly samples: number;
  readonly offset: Float64Array;
  readonly bytes: Int32Array;
  readonly label: Int32Array;
  readonly width: Int32Array;
  readonly height: Int32Array;
  readonly position: Int32Array;
  readonly jsonBytes: Int32Array;
  readonly sha256: Uint8Array;
  readonly clsSha256: Uint8Array;
  readonly jsonSha256: Uint8Array;
}

const COLUMNS = ['bytes', 'label', 'width', 'height', 'position', 'jsonBytes'] as const;
const HASHES = ['sha256', 'clsSha256', 'jsonSha256'] as const;
/** Bytes of a sample in each tensor, in their order. */
const ROW_BYTES = {
  offset: 8,
  bytes: 4,
  label: 4,
  width: 4,
  height: 4,
  position: 4,
  jsonBytes: 4,
  sha256: 32,
  clsSha256: 32,
  jsonSha256: 32,
} as const;

/** `shard` is the tar's file name, without a folder. */
export function encodeIndex(shard: string, rows: Iterable<IndexRow>): Buffer {
  const index = new IndexColumns();
  for (const row of rows) index.add(row);
  return index.encode(shard);
}

/** An index as it grows: columns of bytes, about 130 a sample, where an object a sample would take ten times that. */
export class IndexColumns {
  samples = 0;
  #room = 64;
  readonly #columns = new Map<string, Buffer>(
    [...Object.entries(ROW_BYTES)].map(([name, bytes]) => [name, Buffer.alloc(bytes * this.#room)]),
  );

  add(row: IndexRow): void {
    if (this.samples === this.#room) this.#grow();
    const i = this.samples++;
    this.#column('offset').writeBigInt64LE(BigInt(row.offset), 8 * i);
    for (const name of COLUMNS) this.#column(name).writeInt32LE(row[name], 4 * i);
    for (const name of HASHES) this.#column(name).set(row[name], 32 * i);
  }

  encode(shard: string): Buffer {
    const tensor = (name: keyof typeof ROW_BYTES, dtype: RawTensor['dtype'], shape: readonly number[]): RawTensor => {
      return { name, dtype, shape, data: this.#column(name).subarray(0, ROW_BYTES[name] * this.samples) };
    };
    const n = this.samples;
    return encodeTensors(
      [
        tensor('offset', 'I64', [n]),
        ...COLUMNS.map((name) => tensor(name, 'I32', [n])),
        ...HASHES.map((name) => tensor(name, 'U8', [n, 32])),
      ],
      { format: INDEX_FORMAT, shard },
    );
  }

  #column(name: keyof typeof ROW_BYTES): Buffer {
    return this.#columns.get(name) as Buffer;
  }

  #grow(): void {
    this.#room *= 2;
    for (const [name, old] of this.#columns) {
      const larger = Buffer.alloc(2 * old.length);
      larger.set(old);
      this.#columns.set(name, larger);
    }
  }
}

/** @throws Fault `safetensors-damaged`, `index-format` */
export function decodeIndex(file: Uint8Array): ShardIndex {
  const decoded = decodeTensors(file);
  const { format, shard } = decoded.metadata;
  if (format !== INDEX_FORMAT || shard === undefined) throw indexFormat(`format '${format}'`);
  const places = tensorOf(decoded, 'offset', 'I64');
  const samples = places.data.length / 8;
  const view = Buffer.from(places.data.buffer, places.data.byteOffset, places.data.byteLength);
  const column = (name: (typeof COLUMNS)[number]): Int32Array => {
    const values = valuesOf(tensorOf(decoded, name, 'I32'), 'I32');
    if (values.length !== samples) throw indexFormat(`${values.length} of ${samples} values in '${name}'`);
    return values;
  };
  const hashes = (name: (typeof HASHES)[number]): Uint8Array => {
    const { data } = tensorOf(decoded, name, 'U8');
    if (data.length !== 32 * samples) throw indexFormat(`${data.length} bytes of ${name} for ${samples} samples`);
    return data;
  };
  return {
    shard,
    samples,
    offset: Float64Array.from({ length: samples }, (_, i) => Number(view.readBigInt64LE(8 * i))),
    bytes: column('bytes'),
    label: column('label'),
    width: column('width'),
    height: column('height'),
    position: column('position'),
    jsonBytes: column('jsonBytes'),
    sha256: hashes('sha256'),
    clsSha256: hashes('clsSha256'),
    jsonSha256: hashes('jsonSha256'),
  };
}

function tensorOf(file: TensorFile, name: string, dtype: string): RawTensor {
  const tensor = file.tensors.get(name);
  if (tensor?.dtype !== dtype) throw indexFormat(tensor ? `'${name}' of ${tensor.dtype}` : `no tensor '${name}'`);
  return tensor;
}

function indexFormat(received: string): Fault {
  return new Fault({
    code: 'index-format',
    received,
    expected: `an index of ${INDEX_FORMAT}`,
    remedy: `pack again with 'preprocess shard'`,
  });
}

/** DALI's index of one shard, from its samples' lines. */
export function daliIndex(lines: readonly string[]): string {
  return `v1.2 ${lines.length}\n${lines.join('')}`;
}

/** A sample's line in DALI's index: its members, in the order of the tar. */
export function daliLine(members: readonly MemberPlace[]): string {
  const fields = members.map(
    ({ name, offset, bytes }) => `${name.slice(name.indexOf('.') + 1)} ${offset} ${bytes} ${name}`,
  );
  return `${fields.join(' ')}\n`;
}

/** WebDataset's list of a split's shards in one bucket, to lie in the shards' folder. */
export function shardListing(
  name: string,
  shards: readonly { readonly file: string; readonly samples: number; readonly bytes: number }[],
): string {
  const shardlist = shards.map(({ file, samples, bytes }) => ({ url: file, nsamples: samples, filesize: bytes }));
  return `${canonicalJson({ __kind__: 'wids-shard-index-v1', wids_version: 1, name, shardlist })}\n`;
}
