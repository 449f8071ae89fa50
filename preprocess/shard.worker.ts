// The pool's tasks: pack one group from the list of sources to durable shards, or only measure a few sources.

import { Fault, type FaultDetails, type SourceEntry, type Split, sampleKey } from '#shards';
import { Catalogue } from './catalogue.ts';
import type { GroupRecord } from './group.ts';
import { GroupWriter } from './group-writer.ts';
import { type ImageRequest, type ImageResult, storeImage } from './image.ts';
import type { Group } from './job.ts';
import { type Reject, type Rejection, rejectFault, tooManyRejects } from './rejects.ts';
import { SourceFiles } from './source-bytes.ts';
import { stopped, Tally } from './tally.ts';
import { asWriteFault } from './write-fault.ts';

/** Where sources lie and how they become images; the same for every task of a run. */
export interface SourceRequest extends Omit<ImageRequest, 'split'> {
  /** The source folder. */
  readonly root: string;
  /** The folder of the catalogue. */
  readonly catalogue: string;
}

export interface GroupTask extends SourceRequest {
  readonly kind: 'group';
  readonly out: string;
  readonly group: Group;
  /** Place of the group among all. */
  readonly number: number;
  /** Place in the sorted list of each position of the group, and the first position. */
  readonly order: Uint32Array;
  readonly firstPosition: number;
  readonly onError: 'skip' | 'fail';
  readonly rejectLimit: number;
  readonly tally: SharedArrayBuffer;
}

/** Measures the source at a place of the sorted list. */
export interface ProbeTask extends SourceRequest {
  readonly kind: 'probe';
  readonly split: Split;
  readonly place: number;
}

/** Failures are values: a class would not survive the way. */
export type GroupResult =
  | { readonly ok: true; readonly record: GroupRecord }
  | { readonly ok: false; readonly fault: FaultDetails };

/** Bytes of the JPEGs of all buckets together; null of a source that cannot be packed. */
export type ProbeResult = number | null;

export default async function work(task: GroupTask | ProbeTask): Promise<GroupResult | ProbeResult> {
  return task.kind === 'probe' ? probe(task) : packGroup(task);
}

async function packGroup(task: GroupTask): Promise<GroupResult> {
  const { out, group, buckets } = task;
  const sources = new Sources(task, group.split);
  let writer: GroupWriter | null = null;
  try {
    writer = await GroupWriter.create(out, group, buckets);
    const { samples, viaTurbo, viaSharp, rejects } = await fill(writer, task, sources);
    return { ok: true, record: { ...group, samples, viaTurbo, viaSharp, rejects, buckets: await writer.finish() } };
  } catch (error) {
    await writer?.abort();
    const fault = asWriteFault(error, out);
    if (fault instanceof Fault) return { ok: false, fault: fault.toJSON() };
    throw fault;
  } finally {
    sources.close();
  }
}

async function fill(
  writer: GroupWriter,
  task: GroupTask,
  sources: Sources,
): Promise<Pick<GroupRecord, 'samples' | 'viaTurbo' | 'viaSharp' | 'rejects'>> {
  const { group, order, firstPosition, onError } = task;
  const tally = new Tally(task.tally);
  const rejects: Reject[] = [];
  let samples = 0;
  let viaTurbo = 0;
  let viaSharp = 0;
  for (const [i, place] of order.entries()) {
    if (tally.stops(task.number)) throw stopped();
    const position = firstPosition + i;
    const { source, sourceBytes, result } = await sources.store(place);
    const { path } = source;
    if (result.ok) {
      const wnid = path.split('/')[1] as string;
      const info = { key: sampleKey(position, path), label: source.label, wnid, source: path, position };
      await writer.add(info, result.images);
      samples++;
      if (result.decoder === 'libjpeg-turbo') viaTurbo++;
      if (result.decoder === 'sharp') viaSharp++;
    } else {
      const { code, reason } = result;
      const shown = sources.nameOf(source);
      if (onError === 'fail') throw rejectFault({ code, reason }, shown);
      rejects.push({ split: group.split, position, source: path, code, reason });
      if (tally.add('rejects', 1) > task.rejectLimit) throw tooManyRejects({ code, reason }, shown, task.rejectLimit);
    }
    tally.add('sourceBytes', sourceBytes);
    tally.add('done', 1);
  }
  return { samples, viaTurbo, viaSharp, rejects };
}

async function probe(task: ProbeTask): Promise<ProbeResult> {
  const sources = new Sources(task, task.split);
  try {
    const { result } = await sources.store(task.place);
    return result.ok ? result.images.reduce((sum, { jpg }) => sum + jpg.length, 0) : null;
  } finally {
    sources.close();
  }
}

interface Stored {
  readonly source: SourceEntry;
  readonly sourceBytes: number;
  readonly result: ImageResult;
}

/** One split's sources, by their place in the sorted list. */
class Sources {
  readonly #request: ImageRequest;
  readonly #root: string;
  readonly #catalogue: Catalogue;
  readonly #files: SourceFiles;

  constructor({ root, catalogue, buckets, pixels, timeoutMs }: SourceRequest, split: Split) {
    this.#request = { split, buckets, pixels, timeoutMs };
    this.#root = root;
    this.#catalogue = new Catalogue(catalogue, split);
    this.#files = new SourceFiles(root);
  }

  async store(place: number): Promise<Stored> {
    const source = this.#catalogue.at(place);
    const bytes = this.#files.read(source);
    if (!Buffer.isBuffer(bytes)) return { source, sourceBytes: 0, result: refused(bytes) };
    return { source, sourceBytes: bytes.length, result: await storeImage(bytes, this.#request) };
  }

  /** For a person: the file, and the place in it. */
  nameOf({ file, path, offset, bytes }: SourceEntry): string {
    const name = `${this.#root}/${file}`;
    return bytes < 0 ? name : `${name}: ${path} at byte ${offset}`;
  }

  close(): void {
    this.#catalogue.close();
    this.#files.close();
  }
}

function refused({ code, reason }: Rejection): ImageResult {
  return { ok: false, code, reason };
}
