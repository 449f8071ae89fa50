// From the plan to the pool: the chunk tasks of a lane's step, and of a lane's share of the val split.

import type { SplitIndex } from '#shards';
import { VAL_STEP } from './ledger.ts';
import { orderCache } from './order.ts';
import { chunkSizes, type Plan, placeOf, valRange } from './plan.ts';
import type { RecordId } from './record.ts';
import type { ChunkTask, SampleTask } from './render.ts';

/** The packed samples of one resolution. */
export interface BucketIndexes {
  readonly train: SplitIndex;
  readonly val: SplitIndex;
}

export interface TaskSource {
  /** The chunks of a lane's slice of a step, in order. */
  train(step: number, lane: number): ChunkTask[];
  /** The chunks of a lane's share of the val split at a resolution, in order. */
  val(resolution: number, lane: number): ChunkTask[];
}

type Slice = Omit<RecordId, 'plan' | 'chunk' | 'chunks'>;

export function taskSource(plan: Plan, planHash: string, buckets: ReadonlyMap<number, BucketIndexes>): TaskSource {
  const { seed, lanes, orderWindow, augmentation, damaged, evaluation } = plan;
  const bucket = (resolution: number): BucketIndexes => {
    const found = buckets.get(resolution);
    if (!found) throw new Error(`no bucket ${resolution}`);
    return found;
  };
  // The order is the same for every bucket: all hold the same samples in the same shards.
  const [first] = buckets.values();
  const orderOf = orderCache(first?.train.shardSamples ?? [], { seed, window: orderWindow });

  const chunked = (
    slice: Slice,
    samples: readonly SampleTask[],
    how: Pick<ChunkTask, 'crop' | 'mixup' | 'flip' | 'damaged'>,
  ) => {
    const sizes = chunkSizes(samples.length, slice.resolution);
    let begin = 0;
    return sizes.map((size, chunk): ChunkTask => {
      const members = samples.slice(begin, begin + size);
      begin += size;
      return {
        id: { plan: planHash, ...slice, chunk, chunks: sizes.length },
        seed,
        scale: augmentation.scale,
        ratio: augmentation.ratio,
        cropRatio: evaluation.cropRatio,
        ...how,
        samples: members,
      };
    });
  };

  return {
    train(step, lane) {
      const { phase, epoch, stepInEpoch } = placeOf(plan, step);
      const index = bucket(phase.resolution).train;
      const order = orderOf(epoch);
      const perLane = phase.batch / lanes;
      const samples = Array.from({ length: perLane }, (_, i): SampleTask => {
        const inBatch = lane * perLane + i;
        const sample = order[stepInEpoch * phase.batch + inBatch] as number;
        return { sample, index: inBatch, location: index.locate(sample) };
      });
      const { resolution, crop, mixup } = phase;
      return chunked({ split: 'train', epoch, step, lane, resolution }, samples, {
        crop,
        mixup,
        flip: augmentation.flip,
        damaged,
      });
    },
    val(resolution, lane) {
      const index = bucket(resolution).val;
      const { begin, end } = valRange(plan, lane);
      const samples = Array.from({ length: end - begin }, (_, i): SampleTask => {
        const sample = begin + i;
        return { sample, index: sample, location: index.locate(sample) };
      });
      return chunked({ split: 'val', epoch: VAL_STEP, step: VAL_STEP, lane, resolution }, samples, {
        crop: 'centre',
        mixup: 0,
        flip: 0,
        // An evaluation that has a sample twice would be another one.
        damaged: 'fail',
      });
    },
  };
}
