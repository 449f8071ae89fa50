// The tasks that our pool gets in benchmarks: a set of stored JPEGs, epoch after epoch in a new order, cut into records.

import { permutation } from '#shards';
import { type ChunkTask, chunkSizes } from '#stream';
import type { Augmentation } from './loader-child.ts';
import type { LoaderSet } from './loader-sets.ts';

/** Images of a step, which is cut into records as a lane's slice is. */
const SLICE = 64;
const MIXUP_ALPHA = 0.2;

export interface ChunkRun extends Augmentation {
  readonly samples: LoaderSet['samples'];
  /** Side of the square output, px. */
  readonly output: number;
  /** How many to make. */
  readonly images: number;
  /** Of the first round of the set: other epochs, other crops. */
  readonly firstEpoch: number;
}

/** How many rounds of the set `images` take, the last one cut short. */
export const epochsOf = ({ images, samples }: Pick<ChunkRun, 'images' | 'samples'>): number =>
  Math.ceil(images / samples.length);

export function* chunkTasks(run: ChunkRun): Generator<ChunkTask> {
  const { samples, output, images, firstEpoch, scale, ratio, flip } = run;
  let step = 0;
  for (let round = 0; round < epochsOf(run); round++) {
    const epoch = firstEpoch + round;
    const order = permutation(samples.length, { seed: 0, purpose: 'order.samples', epoch });
    const wanted = Math.min(samples.length, images - round * samples.length);
    for (let begin = 0; begin < wanted; begin += SLICE, step++) {
      const sizes = chunkSizes(Math.min(SLICE, wanted - begin), output);
      let at = begin;
      for (const [chunk, size] of sizes.entries()) {
        const members = Array.from({ length: size }, (_, i) => {
          const sample = order[at + i] as number;
          return { sample, index: at - begin + i, location: samples[sample] as (typeof samples)[number] };
        });
        at += size;
        yield {
          id: {
            plan: '0'.repeat(64),
            split: 'train',
            epoch,
            step,
            lane: 0,
            chunk,
            chunks: sizes.length,
            resolution: output,
          },
          seed: 0,
          crop: 'random-resized',
          damaged: 'fail',
          scale,
          ratio,
          cropRatio: 0.875,
          flip,
          mixup: size > 1 ? MIXUP_ALPHA : 0,
          samples: members,
        };
      }
    }
  }
}
