// Evaluation straight from the shards, without a log: the same decode and centre crop as in a run's val topics.

import { Fault, openSplit, readManifest, ShardFiles, type Split } from '#shards';
import type { GroupSamples } from './feed.ts';
import { chunkSizes } from './plan.ts';
import { renderChunk } from './render.ts';

export interface EvaluationOptions {
  /** Folder of the packed dataset. */
  readonly shards: string;
  readonly split: Split;
  /** Which bucket, and the side of the images, px. */
  readonly resolution: number;
  /** Side of the central square over the stored short side. */
  readonly cropRatio: number;
}

/** Every sample of a split once, in order, unaugmented. Fault `bucket-missing` where the resolution was not packed. */
export async function* evaluationSamples(options: EvaluationOptions): AsyncGenerator<GroupSamples> {
  const { shards, split, resolution, cropRatio } = options;
  const manifest = await readManifest(shards);
  const buckets = Object.keys(manifest.splits[split].buckets);
  if (!buckets.includes(String(resolution)))
    throw new Fault({
      code: 'bucket-missing',
      received: `${shards} with buckets ${buckets.join(', ')}`,
      expected: `bucket ${resolution}`,
      remedy: `choose one of these with --resolution, or pack with 'preprocess shard --buckets …,${resolution}'`,
    });
  const index = await openSplit(shards, manifest, split, resolution);
  const files = new ShardFiles(shards);
  try {
    let sample = 0;
    for (const size of chunkSizes(index.samples, resolution)) {
      const { tensors } = await renderChunk(
        {
          id: { plan: '', split, epoch: 0, step: 0, lane: 0, chunk: 0, chunks: 1, resolution },
          seed: 0,
          crop: 'centre',
          damaged: 'fail',
          scale: [1, 1],
          ratio: [1, 1],
          cropRatio,
          flip: 0,
          mixup: 0,
          samples: Array.from({ length: size }, () => ({ sample, index: sample, location: index.locate(sample++) })),
        },
        (location) => files.readSync(location),
      );
      const { images, labelA, labelB, lam } = tensors;
      yield {
        samples: size,
        images: images.slice(),
        labelA: labelA.slice(),
        labelB: labelB.slice(),
        lam: lam.slice(),
      };
    }
  } finally {
    files.close();
  }
}
