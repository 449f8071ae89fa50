import assert from 'node:assert/strict';
import { it } from 'node:test';
import { capacityFigures } from '../../../ops/bench/capacity.ts';
import type { PipelineResult } from '../../../ops/bench/pipeline.ts';

const machine = { cpu: 'a CPU', cores: 2, memoryGb: 8, os: 'linux 6 x64', node: 'v20', load: 0.5 };

const RESULT: PipelineResult = {
  rows: [
    {
      source: 'short side 256',
      output: '224',
      jpegBytes: 31_000,
      imagesPerSecond: 3900,
      oneWorker: 2000,
      stages: { read: 0.01, decode: 0.3, kernel: 0.15, main: 0.04 },
      cpuMs: 0.55,
      limit: 4400,
      ratio: 3900 / 4400,
      scaling: 1.95,
      limitScaling: 2,
      scalingRatio: 0.975,
      bySharp: 700,
    },
  ],
  shards: { '4': 3900, '400': 3900, ratio: 1 },
  machine,
  workers: 2,
};

it('the capacity planner gets ms an image of each stage and core, and how far a second worker helps', () => {
  assert.deepEqual(capacityFigures(RESULT, new Date(0)), {
    format: 'medium-recipe/capacity@1',
    date: '1970-01-01T00:00:00.000Z',
    machine,
    workers: 2,
    rows: [
      {
        source: 'short side 256',
        resolution: 224,
        jpegBytes: 31_000,
        msPerImage: { read: 0.01, decode: 0.3, kernel: 0.15, main: 0.04, total: 0.5 },
        scaling: 0.975,
      },
    ],
  });
});
