import assert from 'node:assert/strict';
import { it } from 'node:test';
import { RecordMemory } from '../../stream/record-memory.ts';

const MB = 1_000_000;

it('memory that was released is taken again once, the last first', () => {
  const memory = new RecordMemory();
  const [first, second] = [new ArrayBuffer(1), new ArrayBuffer(2)];
  const releases = [memory.releaserOf(first), memory.releaserOf(second)];
  for (const release of [...releases, ...releases]) release();
  assert.deepEqual([memory.take(), memory.take(), memory.take()], [second, first, undefined]);
});

it('memory that waits is bounded in bytes', () => {
  const memory = new RecordMemory();
  for (let i = 0; i < 200; i++) memory.releaserOf(new ArrayBuffer(MB))();
  let waiting = 0;
  while (memory.take()) waiting++;
  assert.equal(waiting, 67, 'MB of 64 MiB');
  memory.releaserOf(new ArrayBuffer(MB))();
  assert.ok(memory.take(), 'what was taken counts no more');
});
