import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chunkTasks } from '../../../ops/bench/chunk-tasks.ts';
import { AUGMENTATION } from '../../../ops/bench/contest.ts';

const samples = Array.from({ length: 100 }, (_, sample) => ({
  shard: '8/train.tar',
  offset: 512 * sample,
  bytes: 100,
  label: 0,
  width: 256,
  height: 256,
}));

const tasksOf = (images: number, firstEpoch = 3) => [
  ...chunkTasks({ ...AUGMENTATION, samples, output: 224, images, firstEpoch }),
];

describe('the tasks of a benchmark', () => {
  it('hold every sample once a round, in another order each time, until there are enough', () => {
    const tasks = tasksOf(250);
    const rounds = [3, 4, 5].map((epoch) =>
      tasks.filter(({ id }) => id.epoch === epoch).flatMap((task) => task.samples.map(({ sample }) => sample)),
    );
    assert.deepEqual(
      rounds.map((round) => [round.length, new Set(round).size]),
      [
        [100, 100],
        [100, 100],
        [50, 50],
      ],
    );
    assert.notDeepEqual(rounds[0], rounds[1]);
    assert.deepEqual(tasksOf(250), tasks);
  });

  it('are chunks of records of 1 MB at most, mixed where there is more than one image', () => {
    for (const { id, samples: members, mixup } of tasksOf(129)) {
      assert.ok(members.length * id.resolution ** 2 * 3 <= 1_000_000);
      assert.equal(mixup > 0, members.length > 1);
      for (const { sample, location } of members) assert.equal(location, samples[sample]);
    }
    assert.ok(tasksOf(101).some(({ mixup }) => mixup === 0));
  });
});
