// Safetensors, the container of records, indexes and weights, so that Python reads them without our code.
//
//   file   := length:u64le header data
//   header := JSON {"__metadata__"?: {string: string}, NAME: {"dtype", "shape", "data_offsets": [begin, end]}, …},
//             padded with spaces so that `data` starts at a multiple of 8
//   data   := the tensors' bytes, little-endian, in the header's order, without gaps

import { Fault } from './errors.ts';

/** F64, F16 and BF16 only come from others; here nothing is written in them. */
export type DType = 'U8' | 'I32' | 'I64' | 'F32' | 'F64' | 'F16' | 'BF16';
const WIDTH: Record<DType, number> = { U8: 1, I32: 4, I64: 8, F32: 4, F64: 8, F16: 2, BF16: 2 };

/** One tensor: its raw little-endian bytes, row-major. */
export interface RawTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface TensorFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, RawTensor>;
}

export type TensorShape = Omit<RawTensor, 'data'>;

/** The header's bytes (length word and padding included) and where each tensor's data begins after them. */
export function encodeHeader(
  tensors: readonly TensorShape[],
  metadata: Readonly<Record<string, string>> = {},
): { header: Buffer; offsets: number[]; dataBytes: number } {
  const entries: Record<string, unknown> = {};
  if (Object.keys(metadata).length > 0) entries['__metadata__'] = metadata;
  const offsets: number[] = [];
  let end = 0;
  for (const { name, dtype, shape } of tensors) {
    const begin = end;
    end += shape.reduce((product, side) => product * side, WIDTH[dtype]);
    offsets.push(begin);
    entries[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  const json = Buffer.from(JSON.stringify(entries));
  const padded = Math.ceil(json.length / 8) * 8;
  const header = Buffer.alloc(8 + padded, ' ');
  header.writeBigUInt64LE(BigInt(padded), 0);
  json.copy(header, 8);
  return { header, offsets, dataBytes: end };
}

/** The whole file as one buffer. */
export function encodeTensors(tensors: readonly RawTensor[], metadata: Readonly<Record<string, string>> = {}): Buffer {
  const { header, offsets, dataBytes } = encodeHeader(tensors, metadata);
  const file = Buffer.alloc(header.length + dataBytes);
  header.copy(file);
  tensors.forEach((tensor, i) => {
    file.set(tensor.data, header.length + (offsets[i] as number));
  });
  return file;
}

function damagedFile(received: string): Fault {
  return new Fault({
    code: 'safetensors-damaged',
    received,
    expected: 'a safetensors file: a header length, a JSON header, tensors without gaps',
    remedy: 'the bytes are damaged or of another format; make them anew',
  });
}

interface HeaderEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [begin: number, end: number];
}

/** Reads a file without copying: the tensors' data are views of `file`. `where` names it in the Fault. */
export function decodeTensors(file: Uint8Array, where = 'a file'): TensorFile {
  const damaged = (received: string) => damagedFile(`${where}: ${received}`);
  const buffer = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (buffer.length < 8) throw damaged(`${buffer.length} bytes`);
  const headerLength = buffer.readBigUInt64LE(0);
  if (headerLength > BigInt(buffer.length - 8))
    throw damaged(`a header of ${headerLength} bytes in a file of ${buffer.length}`);
  const start = 8 + Number(headerLength);
  let entries: Record<string, unknown>;
  try {
    entries = JSON.parse(buffer.toString('utf8', 8, start)) as Record<string, unknown>;
  } catch (cause) {
    throw damaged(`a header that is not JSON (${(cause as Error).message})`);
  }
  const tensors = new Map<string, RawTensor>();
  let expectedBegin = 0;
  // By place: a header may name its tensors in any order.
  const placed = Object.entries(entries)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, entry]) => ({ name, ...(entry as Partial<HeaderEntry> | null) }))
    .sort(({ data_offsets: a }, { data_offsets: b }) => (a && b ? a[0] - b[0] || a[1] - b[1] : 0));
  for (const { name, dtype, shape, data_offsets } of placed) {
    const width = dtype && WIDTH[dtype];
    const [begin, end] = data_offsets ?? [];
    if (!dtype || width === undefined || !Array.isArray(shape) || begin !== expectedBegin || end === undefined)
      throw damaged(`tensor '${name}' of dtype ${dtype} at ${begin}`);
    const bytes = shape.reduce((product, side) => product * side, width);
    if (end !== begin + bytes || start + end > buffer.length)
      throw damaged(`tensor '${name}' with ${end - begin} of ${bytes} bytes`);
    tensors.set(name, { name, dtype, shape, data: buffer.subarray(start + begin, start + end) });
    expectedBegin = end;
  }
  if (start + expectedBegin !== buffer.length)
    throw damaged(`${buffer.length - start - expectedBegin} bytes after the last tensor`);
  return { metadata: (entries['__metadata__'] ?? {}) as Record<string, string>, tensors };
}

/** A tensor's values as 32-bit integers or floats: a view where alignment allows, else a copy. */
export function valuesOf(tensor: RawTensor, dtype: 'F32'): Float32Array;
export function valuesOf(tensor: RawTensor, dtype: 'I32'): Int32Array;
export function valuesOf(tensor: RawTensor, dtype: 'F32' | 'I32'): Float32Array | Int32Array {
  if (tensor.dtype !== dtype) throw damagedFile(`tensor '${tensor.name}' of dtype ${tensor.dtype}, not ${dtype}`);
  const { data } = tensor;
  const { buffer, byteOffset, byteLength } = data.byteOffset % 4 === 0 ? data : Uint8Array.from(data);
  return dtype === 'F32'
    ? new Float32Array(buffer, byteOffset, byteLength / 4)
    : new Int32Array(buffer, byteOffset, byteLength / 4);
}
