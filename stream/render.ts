// One chunk, from shard bytes to record bytes: decode → crop → resize → flip → MixUp. A pure function of the task.

import { Draws, Fault, type SampleLocation } from '#shards';
import { centreCrop } from './augment/centre-crop.ts';
import { flips } from './augment/flip.ts';
import { LAMBDA_ONE, lambdaSampler, partnerShift } from './augment/mixup.ts';
import { type CropBox, randomResizedCrop } from './augment/random-resized-crop.ts';
import { DECODER, type DecoderChoice, decodeInto } from './decode.ts';
import { Workspace } from './kernel/workspace.ts';
import { allocateRecord, type RecordId, type RecordTensors } from './record.ts';

/** What the bytes depend on beside the plan: two fingerprints may not feed one run. */
export const FINGERPRINT = `${DECODER}+resize@3+record@1`;

/** The fingerprint of what was made with these decoders: others than our own are named after ours, each once. */
export function fingerprintWith(decoders: Iterable<string>): string {
  const others = [...new Set(decoders)].filter((name) => name !== DECODER).sort();
  return [FINGERPRINT, ...others].join('+');
}

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

/** What becomes of a damaged training sample: the chunk fails, or it is replaced by the one before it in the chunk. */
export type DamagePolicy = 'fail' | 'replace';

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
  readonly damaged: DamagePolicy;
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
  /** How many samples each decoder decoded, by its name. */
  readonly decoders: Readonly<Record<string, number>>;
  /** What is wrong with each sample that another stands for. */
  readonly replaced: readonly string[];
}

export interface RenderOptions {
  /** Where the record is made, if it is long enough; else in memory of its own. */
  readonly memory?: ArrayBuffer | undefined;
  readonly decoder?: DecoderChoice | undefined;
}

/** Not in use. One a thread, unless chunks are rendered at the same time. */
const idle: Workspace[] = [];

/**
 * Renders a chunk to its record's bytes. Faults name shard and offset of a damaged sample.
 * @throws Fault `sample-damaged`, `sample-too-large`
 */
export async function renderChunk(task: ChunkTask, read: ReadSample, options: RenderOptions = {}): Promise<Rendered> {
  const workspace = idle.pop() ?? new Workspace();
  try {
    return await renderIn(workspace, task, read, options);
  } finally {
    if (workspace.memoryBytes <= KEEP_BYTES) idle.push(workspace);
  }
}

async function renderIn(
  workspace: Workspace,
  task: ChunkTask,
  read: ReadSample,
  { memory, decoder = 'fastest' }: RenderOptions,
): Promise<Rendered> {
  const { id, samples } = task;
  const times: StageTimes = { read: 0, decode: 0, kernel: 0 };
  const decoders: Record<string, number> = {};
  const damaged = new Map<number, Fault>();
  const boxOf = boxes(task);
  workspace.begin(samples.length, id.resolution);
  for (const [image, sample] of samples.entries()) {
    try {
      const name = await renderSample({ workspace, task, boxOf, sample, image, read, decoder, times });
      decoders[name] = (decoders[name] ?? 0) + 1;
    } catch (error) {
      if (task.damaged === 'fail' || !(error instanceof Fault) || error.code !== 'sample-damaged') throw error;
      damaged.set(image, error);
    }
  }

  const start = performance.now();
  const standIns = standInsFor(damaged, samples.length);
  for (const image of damaged.keys()) workspace.copy(standIns[image] as number, image);
  const { bytes, tensors } = allocateRecord(id, samples.length, memory);
  const { shift, lambda } = mixOf(task);
  workspace.mix({ shift, lambda }, tensors.images);
  for (const [i, image] of standIns.entries()) {
    const { sample, location } = samples[image] as SampleTask;
    tensors.sample[i] = sample;
    tensors.labelA[i] = location.label;
  }
  for (let i = 0; i < samples.length; i++) {
    tensors.labelB[i] = tensors.labelA[(i + shift) % samples.length] as number;
    tensors.lam[i] = lambda / LAMBDA_ONE;
  }
  times.kernel += performance.now() - start;
  return { bytes, tensors, times, decoders, replaced: [...damaged.values()].map(({ received }) => received) };
}

type BoxOf = (width: number, height: number, draws: Draws) => CropBox;

/** How the chunk's images are cropped. */
function boxes({ crop, cropRatio, scale, ratio }: ChunkTask): BoxOf {
  return crop === 'centre' ? (width, height) => centreCrop(width, height, cropRatio) : cropper({ scale, ratio });
}

interface SampleWork {
  readonly workspace: Workspace;
  readonly task: ChunkTask;
  readonly boxOf: BoxOf;
  readonly sample: SampleTask;
  readonly image: number;
  readonly read: ReadSample;
  readonly decoder: DecoderChoice;
  readonly times: StageTimes;
}

/** Makes one of the chunk's images; resolves to the decoder's name. */
async function renderSample(work: SampleWork): Promise<string> {
  const { workspace, task, boxOf, sample, image, read, decoder, times } = work;
  const { index, location } = sample;
  const { width, height } = location;
  const where = `shard ${location.shard}: sample ${sample.sample} at byte ${location.offset}`;
  if (width * height > MAX_PIXELS) throw tooLarge(where, width, height);
  const { epoch, step } = task.id;
  const draws = new Draws({ seed: task.seed, purpose: 'augment', epoch, step, index });
  const box = boxOf(width, height, draws);
  const flip = flips(task.flip, draws);
  const start = performance.now();
  const file = read(location);
  const readAt = performance.now();
  const name = await decodeInto(workspace, { file, width, height, where }, box, decoder);
  const decodedAt = performance.now();
  workspace.resize({ box, flip, image });
  times.read += readAt - start;
  times.decode += decodedAt - readAt;
  times.kernel += performance.now() - decodedAt;
  return name;
}

/** Which image stands at each place: itself, or where it is damaged the nearest before it, round the chunk's end. */
function standInsFor(damaged: ReadonlyMap<number, Fault>, images: number): number[] {
  const [first] = damaged.values();
  if (first && damaged.size === images) throw first;
  return Array.from({ length: images }, (_, image) => {
    let at = image;
    while (damaged.has(at)) at = (at + images - 1) % images;
    return at;
  });
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
