// Where the samples of a shard lie: our own index, DALI's and WebDataset's.
//
//   NAME.index.safetensors   offset I64 [n], bytes I32 [n] of each JPEG in the tar; label, width, height, position
//                            I32 [n]; sha256 U8 [n, 32] of the JPEG's bytes; metadata {format, shard}
//   NAME.idx                 DALI's `wds2idx` v1.2: "v1.2 n", then a line a sample: "ext offset bytes name" a member
//   SPLIT.json               `wids-shard-index-v1`: the shards of a split with their sample counts, urls from the file

import { canonicalJson } from './canonical.ts';
import { Fault } from './errors.ts';
import { decodeTensors, encodeTensors, type RawTensor, type TensorFile, valuesOf } from './safetensors.ts';
import type { PackedSample } from './sample.ts';
import type { MemberPlace } from './tar.ts';

export const INDEX_FORMAT = 'medium-recipe/index@1';

/** One sample as the index keeps it; `offset` and `bytes` are of the JPEG inside the tar. */
export type IndexRow = Pick<PackedSample, 'label' | 'width' | 'height' | 'position' | 'sha256'> & {
  readonly offset: number;
  readonly bytes: number;
};

/** A shard's index as columns of n entries; `sha256` has n × 32 bytes. */
export interface ShardIndex {
  readonly shard: string;
  readonly samples: number;
  readonly offset: Float64Array;
  readonly bytes: Int32Array;
  readonly label: Int32Array;
  readonly width: Int32Array;
  readonly height: Int32Array;
  readonly position: Int32Array;
  readonly sha256: Uint8Array;
}

const COLUMNS = ['bytes', 'label', 'width', 'height', 'position'] as const;

/** `shard` is the tar's file name, without a folder. */
export function encodeIndex(shard: string, rows: readonly IndexRow[]): Buffer {
  const n = rows.length;
  const offset = Buffer.alloc(8 * n);
  rows.forEach((row, i) => {
    offset.writeBigInt64LE(BigInt(row.offset), 8 * i);
  });
  const columns = COLUMNS.map((name): RawTensor => {
    const data = Buffer.alloc(4 * n);
    rows.forEach((row, i) => {
      data.writeInt32LE(row[name], 4 * i);
    });
    return { name, dtype: 'I32', shape: [n], data };
  });
  const sha256 = Buffer.concat(
    rows.map((row) => row.sha256),
    32 * n,
  );
  return encodeTensors(
    [
      { name: 'offset', dtype: 'I64', shape: [n], data: offset },
      ...columns,
      { name: 'sha256', dtype: 'U8', shape: [n, 32], data: sha256 },
    ],
    { format: INDEX_FORMAT, shard },
  );
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
  const sha256 = tensorOf(decoded, 'sha256', 'U8').data;
  if (sha256.length !== 32 * samples) throw indexFormat(`${sha256.length} bytes of sha256 for ${samples} samples`);
  return {
    shard,
    samples,
    offset: Float64Array.from({ length: samples }, (_, i) => Number(view.readBigInt64LE(8 * i))),
    bytes: column('bytes'),
    label: column('label'),
    width: column('width'),
    height: column('height'),
    position: column('position'),
    sha256,
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

/** DALI's index of one shard; each sample is the list of its members, in the order of the tar. */
export function daliIndex(samples: readonly (readonly MemberPlace[])[]): string {
  const lines = samples.map((members) =>
    members
      .map(({ name, offset, bytes }) => `${name.slice(name.indexOf('.') + 1)} ${offset} ${bytes} ${name}`)
      .join(' '),
  );
  return `v1.2 ${samples.length}\n${lines.map((line) => `${line}\n`).join('')}`;
}

/** WebDataset's list of a split's shards in one bucket, to lie in the shards' folder. */
export function shardListing(
  name: string,
  shards: readonly { readonly file: string; readonly samples: number; readonly bytes: number }[],
): string {
  const shardlist = shards.map(({ file, samples, bytes }) => ({ url: file, nsamples: samples, filesize: bytes }));
  return `${canonicalJson({ __kind__: 'wids-shard-index-v1', wids_version: 1, name, shardlist })}\n`;
}
