// The trainer's soak in its short form: a real training holds the same tensors and handles after every step.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { trainerSoak } from '../../../ops/bench/trainer-soak.ts';
import { requirement } from '../../requirements.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** What JavaScript holds; resident memory of so young a process says nothing yet, as its heaps grow to their bounds. */
function heldMb(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 1e6;
}

/** One time more is on its way than another: batches, a checkpoint. */
const GROWN_MB = 3;

it('a training has as many tensors and handles after each of its steps, across sizes, SAM, FixRes and checkpoints', {
  ...requirement('tfjs-node'),
  timeout: 240_000,
}, async () => {
  const said: string[] = [];
  const held: number[] = [];
  const { tenths, flat } = await trainerSoak({
    steps: 100,
    backend: 'tfjs-node',
    say: (line) => {
      said.push(line);
      held.push(heldMb());
    },
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
  const [, second = Number.NaN] = held;
  assert.ok((held.at(-1) ?? Number.NaN) < second + GROWN_MB, `${held.map((mb) => mb.toFixed(1))} MB held`);
});
