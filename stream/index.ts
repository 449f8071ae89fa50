// The door of the room: what the other rooms may use.
export * from './evaluation.ts';
export * from './feed.ts';
export type { RunMeta } from './meta.ts';
export * from './plan.ts';
export * from './recipe.ts';
export { type RunTopics, topicsOf } from './topics.ts';
