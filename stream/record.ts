// A record: one chunk of a lane's slice as a safetensors blob, the unit that the log carries.
//
//   record := safetensors, in this order: labelA I32 [n], labelB I32 [n], lam F32 [n], sample I32 [n],
//             images U8 [n, h, w, 3]; __metadata__ holds format, plan, split, epoch, step, lane, chunk, chunks, resolution
//
// Labels are class indexes; the target is lam·onehot(labelA) + (1 − lam)·onehot(labelB). `sample` is the position in
// the bucket. Pixels are as decoded: normalisation and smoothing happen on the trainer's device.

import { decodeTensors, encodeHeader, Fault, type Split, type TensorShape, valuesOf } from '#shards';

export const RECORD_FORMAT = 'medium-recipe/record@1';

/** Which record it is. For val, epoch and step are −1: it is written once for all evaluations. */
export interface RecordId {
  /** The planHash. */
  readonly plan: string;
  readonly split: Split;
  readonly epoch: number;
  readonly step: number;
  readonly lane: number;
  readonly chunk: number;
  readonly chunks: number;
  readonly resolution: number;
}

/** A record's tensors, as views. n samples of [resolution, resolution, 3] pixels. */
export interface RecordTensors {
  readonly labelA: Int32Array;
  readonly labelB: Int32Array;
  readonly lam: Float32Array;
  readonly sample: Int32Array;
  readonly images: Uint8Array;
}

function shapesOf(n: number, resolution: number): TensorShape[] {
  return [
    { name: 'labelA', dtype: 'I32', shape: [n] },
    { name: 'labelB', dtype: 'I32', shape: [n] },
    { name: 'lam', dtype: 'F32', shape: [n] },
    { name: 'sample', dtype: 'I32', shape: [n] },
    { name: 'images', dtype: 'U8', shape: [n, resolution, resolution, 3] },
  ];
}

/**
 * A record's bytes with its tensors left to be filled in place, so that pixels are written once; at the beginning of
 * `memory` where it is given and long enough.
 */
export function allocateRecord(
  id: RecordId,
  n: number,
  memory?: ArrayBuffer,
): { bytes: Uint8Array<ArrayBuffer>; tensors: RecordTensors } {
  const { plan, split, epoch, step, lane, chunk, chunks, resolution } = id;
  const metadata = {
    format: RECORD_FORMAT,
    plan,
    split,
    epoch: String(epoch),
    step: String(step),
    lane: String(lane),
    chunk: String(chunk),
    chunks: String(chunks),
    resolution: String(resolution),
  };
  const { header, offsets, dataBytes } = encodeHeader(shapesOf(n, resolution), metadata);
  const length = header.length + dataBytes;
  const bytes = memory && memory.byteLength >= length ? new Uint8Array(memory, 0, length) : new Uint8Array(length);
  bytes.set(header);
  const at = (tensor: number) => header.length + (offsets[tensor] as number);
  return {
    bytes,
    tensors: {
      labelA: new Int32Array(bytes.buffer, at(0), n),
      labelB: new Int32Array(bytes.buffer, at(1), n),
      lam: new Float32Array(bytes.buffer, at(2), n),
      sample: new Int32Array(bytes.buffer, at(3), n),
      images: bytes.subarray(at(4)),
    },
  };
}

/** Reads a record; the tensors are views of `bytes` where alignment allows. `where` names it in Faults. */
export function readRecord(bytes: Uint8Array, where: string): { id: RecordId; tensors: RecordTensors } {
  const { metadata, tensors } = decodeTensors(bytes, where);
  if (metadata['format'] !== RECORD_FORMAT)
    throw new Fault({
      code: 'record-format',
      received: `${where}: a record of format '${metadata['format']}'`,
      expected: RECORD_FORMAT,
      remedy: 'use the version of this project that wrote the stream, or produce it anew under another run name',
    });
  const tensor = (name: string) => {
    const found = tensors.get(name);
    if (!found)
      throw new Fault({
        code: 'record-incomplete',
        received: `${where}: a record without '${name}'`,
        expected: 'labelA, labelB, lam, sample, images',
        remedy: 'regenerate the step: stream produce --from-step',
      });
    return found;
  };
  return {
    id: {
      plan: metadata['plan'] as string,
      split: metadata['split'] as Split,
      epoch: Number(metadata['epoch']),
      step: Number(metadata['step']),
      lane: Number(metadata['lane']),
      chunk: Number(metadata['chunk']),
      chunks: Number(metadata['chunks']),
      resolution: Number(metadata['resolution']),
    },
    tensors: {
      labelA: valuesOf(tensor('labelA'), 'I32'),
      labelB: valuesOf(tensor('labelB'), 'I32'),
      lam: valuesOf(tensor('lam'), 'F32'),
      sample: valuesOf(tensor('sample'), 'I32'),
      images: tensor('images').data,
    },
  };
}
