// A run's topics and how each is kept.

import { Fault } from '#shards';
import { chunkSizes, imageBytes, maxRecordBytes, type Plan, resolutionsOf } from './plan.ts';
import type { TopicSpec } from './transport/transport.ts';

export interface RunTopics {
  readonly meta: string;
  readonly ledger: string;
  readonly progress: string;
  /** No topic: the group of those who share the run's lanes. */
  readonly producers: string;
  train(resolution: number): string;
  val(resolution: number): string;
}

export function topicsOf(run: string): RunTopics {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(run))
    throw new Fault({
      code: 'run-name',
      received: `run name '${run}'`,
      expected: 'lower-case letters, digits and hyphens, at most 64, the first no hyphen',
      remedy: 'choose another --run',
      exit: 2,
    });
  return {
    meta: `${run}.meta`,
    ledger: `${run}.ledger`,
    progress: `${run}.progress`,
    producers: `${run}.producers`,
    train: (resolution) => `${run}.train.${resolution}`,
    val: (resolution) => `${run}.val.${resolution}`,
  };
}

/** The one topic that exists before the plan is known. */
export function metaSpec(run: string): TopicSpec {
  return { name: topicsOf(run).meta, partitions: 1, retention: 'forever', maxRecordBytes: 1_000_000 };
}

/** How many record bytes a phase's lane-step has for each of its pixel bytes: small images weigh less than headers. */
function recordOverhead(plan: Plan): number {
  const ratios = plan.phases.map(({ batch, resolution }) => {
    const samples = batch / plan.lanes;
    const pixels = samples * imageBytes(resolution);
    return (pixels + samples * 16 + chunkSizes(samples, resolution).length * 1024) / pixels;
  });
  return Math.max(...ratios);
}

/**
 * Every other topic. Train topics have a backstop, should nobody delete: two windows, one of lead and one of history,
 * counted in record bytes, and a record's room above that.
 */
export function topicSpecs(run: string, plan: Plan, windowBytes: number): TopicSpec[] {
  const { ledger, progress, train, val } = topicsOf(run);
  const { lanes } = plan;
  const largest = Math.max(...resolutionsOf(plan).map(maxRecordBytes));
  const backstop = Math.ceil((2 * windowBytes * recordOverhead(plan)) / lanes) + largest;
  const specs: TopicSpec[] = [
    { name: ledger, partitions: lanes, retention: 'forever', maxRecordBytes: 100_000 },
    { name: progress, partitions: 1, retention: 'compact', maxRecordBytes: 100_000 },
  ];
  for (const resolution of resolutionsOf(plan)) {
    const records = { partitions: lanes, maxRecordBytes: maxRecordBytes(resolution) };
    specs.push({ name: train(resolution), retention: { maxBytes: backstop }, ...records });
    specs.push({ name: val(resolution), retention: 'forever', ...records });
  }
  return specs;
}
