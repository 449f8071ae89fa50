// The door of the room: what the other rooms may use.
export * from './backend/backend.ts';
export {
  type Checkpoint,
  latestCheckpoint,
  readCheckpoint,
  type Score,
  writeCheckpoint,
} from './checkpoint.ts';
export { type ConsumeOptions, type ConsumeResult, consume } from './consume.ts';
export * from './evaluate.ts';
export type { EvaluateResult } from './evaluate-checkpoint.ts';
export type { ExportResult } from './export.ts';
export * from './gradients.ts';
export type { ImportResult } from './import.ts';
export * from './journal.ts';
export * from './methods/progressive-resizing/progressive-resizing.ts';
export * from './model/model.ts';
export * from './model/resnet.ts';
export * from './schedule.ts';
export * from './state.ts';
export * from './step.ts';
export * from './weights.ts';
