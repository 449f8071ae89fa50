// Figures a core for the capacity planner: what `ops bench pipeline --capacity FILE` writes.

import type { Machine } from './machine.ts';
import type { PipelineResult } from './pipeline.ts';

export interface CapacityRow {
  /** What is stored: the short side of a bucket, or originals. */
  readonly source: string;
  /** Side of the images that are made, px. */
  readonly resolution: number;
  /** Mean bytes of a stored JPEG. */
  readonly jpegBytes: number;
  /** Milliseconds an image: of one worker that has a core, and of the first thread, which all workers share. */
  readonly msPerImage: {
    readonly read: number;
    readonly decode: number;
    readonly kernel: number;
    /** Of the first thread: tasks out, records back. */
    readonly main: number;
    /** From one image to the next of a pool of one worker: read, decode, kernel, and what lies between two chunks. */
    readonly total: number;
  };
  /** Images/s of all workers over those of one, by their number: 1 is as good as it can be. */
  readonly scaling: number;
}

export interface CapacityFigures {
  readonly format: 'medium-recipe/capacity@1';
  /** When it was measured, ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  /** That `scaling` is for. */
  readonly workers: number;
  readonly rows: readonly CapacityRow[];
}

export function capacityFigures({ rows, machine, workers }: PipelineResult, date: Date): CapacityFigures {
  return {
    format: 'medium-recipe/capacity@1',
    date: date.toISOString(),
    machine,
    workers,
    rows: rows.map(({ source, output, jpegBytes, stages, oneWorker, scaling }) => ({
      source,
      resolution: Number(output),
      jpegBytes,
      msPerImage: { ...stages, total: 1000 / oneWorker },
      scaling: scaling / workers,
    })),
  };
}
