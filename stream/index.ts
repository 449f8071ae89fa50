// The door of the room: what the other rooms may use.
export { untilAborted } from './abort.ts';
export { type CropBox, type CropOptions, randomResizedCrop } from './augment/random-resized-crop.ts';
export { type ConsumeCounters, Consumer, type LaneStep } from './consumer.ts';
export { evaluationSamples } from './evaluation.ts';
export { Feed, type FeedBatch, type GroupSamples } from './feed.ts';
export { awaitRun, type RunMeta } from './meta.ts';
export { type OriginalBatch, type Originals, openOriginals } from './originals.ts';
export {
  checkStepBound,
  chunkSizes,
  type DatasetIdentity,
  firstDifference,
  type Phase,
  type Plan,
  placeOf,
  planHashOf,
  resolvePlan,
  type StepPlace,
  trainHashOf,
  trainPartOf,
} from './plan.ts';
export { type PoolCounters, type RenderedChunk, RenderPool } from './pool.ts';
export { reportProgress } from './progress.ts';
export { lanesOfRank } from './ranks.ts';
export {
  type ClipRecipe,
  type EmaRecipe,
  loadRecipe,
  type ModelRecipe,
  type OptimizerRecipe,
  type PhaseRecipe,
  parseRecipe,
  parseSetting,
  type Recipe,
  type SamRecipe,
  withSettings,
} from './recipe.ts';
export type { ChunkTask, SampleTask } from './render.ts';
export { topicsOf } from './topics.ts';
export { openTransport, transportArgument } from './transport/index.ts';
