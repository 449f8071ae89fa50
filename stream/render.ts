// One chunk, from shard bytes to record bytes: decode → crop → resize → flip → MixUp. A pure function of the task.

import { Draws, type SampleLocation } from '#shards';
import { centreCrop } from './augment/centre-crop.ts';
import { blend, LAMBDA_ONE, lambdaSampler, partnerShift } from './augment/mixup.ts';
import { randomResizedCrop } from './augment/random-resized-crop.ts';
import { DECODER, decodeJpeg } from './decode.ts';
import { cropAndResize } from './kernel/resize.ts';
import { imageBytes } from './plan.ts';
import { allocateRecord, type RecordId, type RecordTensors } from './record.ts';

/** What the bytes depend on beside the plan: two fingerprints may not feed one run. */
export const FINGERPRINT = `${DECODER}+resize@1+record@1`;

/** One sample of a chunk. */
export interface SampleTask {
  /** Position in the bucket. */
  readonly sample: number;
  /** Position in the step's global batch: keys the sample's draws. */
  readonly index: number;
  readonly location: SampleLocation;
}

/** Everything a worker needs for one chunk; plain data. */
export interface ChunkTask {
  readonly id: RecordId;
  readonly seed: number;
  readonly crop: 'random-resized' | 'centre';
  readonly scale: readonly [number, number];
  readonly ratio: readonly [number, number];
  readonly cropRatio: number;
  readonly flip: number;
  /** MixUp's alpha; 0 is off. */
  readonly mixup: number;
  readonly samples: readonly SampleTask[];
}

/** Reads a sample's JPEG; the result may be overwritten by the next call. */
export type ReadSample = (location: SampleLocation) => Uint8Array;

/** Milliseconds a chunk spent in each stage. */
export interface StageTimes {
  read: number;
  decode: number;
  kernel: number;
}

/** The same few recipes come again and again: their tables are made once a worker. */
function once<Key extends object, Value>(make: (key: Key) => Value): (key: Key) => Value {
  const made = new Map<string, Value>();
  return (key) => {
    const name = JSON.stringify(key);
    let value = made.get(name);
    if (value === undefined) {
      value = make(key);
      made.set(name, value);
    }
    return value;
  };
}
const cropper = once(randomResizedCrop);
const lambdas = once(({ alpha }: { alpha: number }) => lambdaSampler(alpha));

export interface Rendered {
  /** The record; `tensors` are views of it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly tensors: RecordTensors;
  readonly times: StageTimes;
}

/** Renders a chunk to its record's bytes. Faults name shard and offset of a damaged sample. */
export function renderChunk(task: ChunkTask, read: ReadSample): Rendered {
  const { id, seed, samples } = task;
  const { epoch, step, resolution } = id;
  const { bytes, tensors } = allocateRecord(id, samples.length);
  const stride = imageBytes(resolution);
  const mixing = task.mixup > 0;
  const images = mixing ? new Uint8Array(tensors.images.length) : tensors.images;
  const times: StageTimes = { read: 0, decode: 0, kernel: 0 };
  const randomBox = cropper({ scale: task.scale, ratio: task.ratio });

  samples.forEach(({ sample, index, location }, i) => {
    const start = performance.now();
    const jpeg = read(location);
    const readAt = performance.now();
    const where = `shard ${location.shard}: sample ${sample} at byte ${location.offset}`;
    const source = decodeJpeg(jpeg, location.width, location.height, where);
    const decodedAt = performance.now();
    const draws = new Draws({ seed, purpose: 'augment', epoch, step, index });
    const box =
      task.crop === 'centre'
        ? centreCrop(source.width, source.height, task.cropRatio)
        : randomBox(source.width, source.height, draws);
    const flip = draws.uniform() < task.flip;
    cropAndResize(source, box, resolution, flip, images.subarray(i * stride, (i + 1) * stride));
    tensors.sample[i] = sample;
    tensors.labelA[i] = location.label;
    times.read += readAt - start;
    times.decode += decodedAt - readAt;
    times.kernel += performance.now() - decodedAt;
  });

  const mixStart = performance.now();
  let lambda = LAMBDA_ONE;
  let shift = 0;
  if (mixing) {
    const first = samples[0] as SampleTask;
    lambda = lambdas({ alpha: task.mixup })(new Draws({ seed, purpose: 'mixup.lambda', epoch, step }));
    shift = partnerShift(
      samples.length,
      new Draws({ seed, purpose: 'mixup.partner', epoch, step, index: first.index }),
    );
    blend(images, tensors.images, stride, shift, lambda);
  }
  for (let i = 0; i < samples.length; i++) {
    tensors.labelB[i] = tensors.labelA[(i + shift) % samples.length] as number;
    tensors.lam[i] = lambda / LAMBDA_ONE;
  }
  times.kernel += performance.now() - mixStart;
  return { bytes, tensors, times };
}
