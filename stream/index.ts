// The door of the room: what the other rooms may use.
export { untilAborted } from './abort.ts';
export { evaluationSamples } from './evaluation.ts';
export { Feed, type FeedBatch, type GroupSamples } from './feed.ts';
export type { RunMeta } from './meta.ts';
export {
  checkStepBound,
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
export {
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
export { topicsOf } from './topics.ts';
