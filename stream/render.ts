// One chunk, from shard bytes to record bytes: decode → crop → resize → flip → MixUp. A pure function of the task.

import { Draws, decodeJpegInto, Fault, type SampleLocation } from '#shards';
import { centreCrop } from './augment/centre-crop.ts';
import { LAMBDA_ONE, lambdaSampler, partnerShift } from './augment/mixup.ts';
import { randomResizedCrop } from './augment/random-resized-crop.ts';
import { DECODER, decodeBySharp } from './decode.ts';
import { Workspace } from './kernel/workspace.ts';
import { allocateRecord, type RecordId, type RecordTensors } from './record.ts';

/**
 * What the bytes depend on beside the plan: two fingerprints may not feed one run. A chunk with a sample that only sharp
 * decodes has sharp's after it.
 */
export const FINGERPRINT = `${DECODER}+resize@2+record@1`;

/** Of a sample; decoded, 300 MB. */
const MAX_PIXELS = 100_000_000;
/** A larger workspace is let go after its chunk: WebAssembly memory never shrinks. */
const KEEP_BYTES = 64 * 1024 * 1024;

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
  /** Samples that sharp decoded. */
  readonly viaSharp: number;
  readonly fingerprint: string;
}

/** Not in use. One a thread, unless chunks are rendered at the same time. */
const idle: Workspace[] = [];

/**
 * Renders a chunk to its record's bytes. Faults name shard and offset of a damaged sample.
 * @throws Fault `sample-damaged`, `sample-too-large`
 */
export async function renderChunk(task: ChunkTask, read: ReadSample): Promise<Rendered> {
  const workspace = idle.pop() ?? new Workspace();
  try {
    return await renderIn(workspace, task, read);
  } finally {
    if (workspace.memoryBytes <= KEEP_BYTES) idle.push(workspace);
  }
}

async function renderIn(workspace: Workspace, task: ChunkTask, read: ReadSample): Promise<Rendered> {
  const { id, seed, samples } = task;
  const { epoch, step, resolution } = id;
  const { bytes, tensors } = allocateRecord(id, samples.length);
  const times: StageTimes = { read: 0, decode: 0, kernel: 0 };
  const randomBox = cropper({ scale: task.scale, ratio: task.ratio });
  let viaSharp = 0;
  let fingerprint = FINGERPRINT;

  workspace.begin(samples.length, resolution);
  for (const [image, { sample, index, location }] of samples.entries()) {
    const { width, height } = location;
    const where = `shard ${location.shard}: sample ${sample} at byte ${location.offset}`;
    if (width * height > MAX_PIXELS) throw tooLarge(where, width, height);
    const start = performance.now();
    const file = read(location);
    const readAt = performance.now();
    const pixels = workspace.source(location);
    if (!decodeJpegInto(file, location, pixels)) {
      const decoded = await decodeBySharp({ file, width, height, where });
      pixels.set(decoded.pixels);
      fingerprint = `${FINGERPRINT}+${decoded.decoder}`;
      viaSharp++;
    }
    const decodedAt = performance.now();
    const draws = new Draws({ seed, purpose: 'augment', epoch, step, index });
    const box = task.crop === 'centre' ? centreCrop(width, height, task.cropRatio) : randomBox(width, height, draws);
    workspace.resize({ box, flip: draws.uniform() < task.flip, image });
    tensors.sample[image] = sample;
    tensors.labelA[image] = location.label;
    times.read += readAt - start;
    times.decode += decodedAt - readAt;
    times.kernel += performance.now() - decodedAt;
  }

  const mixStart = performance.now();
  const { shift, lambda } = mixOf(task);
  tensors.images.set(shift === 0 ? workspace.resized() : workspace.mixed({ shift, lambda }));
  for (let i = 0; i < samples.length; i++) {
    tensors.labelB[i] = tensors.labelA[(i + shift) % samples.length] as number;
    tensors.lam[i] = lambda / LAMBDA_ONE;
  }
  times.kernel += performance.now() - mixStart;
  return { bytes, tensors, times, viaSharp, fingerprint };
}

/** A chunk's partners and λ; without MixUp each image is its own partner. */
function mixOf({ id: { epoch, step }, seed, samples, mixup }: ChunkTask): { shift: number; lambda: number } {
  const [first] = samples;
  if (mixup === 0 || !first) return { shift: 0, lambda: LAMBDA_ONE };
  const lambda = lambdas({ alpha: mixup })(new Draws({ seed, purpose: 'mixup.lambda', epoch, step }));
  const draws = new Draws({ seed, purpose: 'mixup.partner', epoch, step, index: first.index });
  return { shift: partnerShift(samples.length, draws), lambda };
}

function tooLarge(where: string, width: number, height: number): Fault {
  return new Fault({
    code: 'sample-too-large',
    received: `${where}: ${width}×${height}`,
    expected: `an image of at most ${MAX_PIXELS / 1e6} megapixels`,
    remedy: "repack with 'preprocess shard', which scales it down",
  });
}
