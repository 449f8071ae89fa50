// The trainer's soak in its short form: a real training holds the same tensors and handles after every step.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { trainerSoak } from '../../../ops/bench/trainer-soak.ts';
import { requirement } from '../../requirements.ts';

/** Processes that are so young still grow: what V8 and TensorFlow take until their heaps have come to their bounds. */
const YOUNG_MB = 60;

it('a training has as many tensors and handles after each of its steps, across sizes, SAM, FixRes and checkpoints', {
  ...requirement('tfjs-node'),
  timeout: 240_000,
}, async () => {
  const said: string[] = [];
  const { tenths, flat, grownMb } = await trainerSoak({
    steps: 100,
    backend: 'tfjs-node',
    say: (line) => said.push(line),
    signal: new AbortController().signal,
  });
  assert.deepEqual([said.length, tenths.length, tenths.at(-1)?.to], [10, 10, 100]);
  const [first] = tenths;
  assert.ok(first && first.tensors[0] > 100 && first.handles[0] > 0 && first.rssMb > 50, said.join('\n'));
  for (const { tensors } of tenths) assert.deepEqual(tensors, [first.tensors[0], first.tensors[0]], said.join('\n'));
  // While the producer lives, it and its two pipes are handles too; it ends before the trainer does.
  const levels = tenths.flatMap(({ handles: [least, most] }) => [most, least]);
  const [before, after] = [levels[0] as number, levels.at(-1) as number];
  assert.deepEqual([...new Set(levels)], [before, after], said.join('\n'));
  assert.equal(before - after, 3, said.join('\n'));
  assert.deepEqual([flat.tensors, flat.handles], [true, true]);
  assert.ok(grownMb < YOUNG_MB, said.join('\n'));
});
