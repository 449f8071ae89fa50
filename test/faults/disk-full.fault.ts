// The embedded log on a full disk, and past its LMDB's map: a clear error, what is there is read, and the run goes on.

import assert from 'node:assert/strict';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readMeta } from '../../stream/meta.ts';
import { reportProgress } from '../../stream/progress.ts';
import { parseRecipe, type Recipe } from '../../stream/recipe.ts';
import { statusOf } from '../../stream/status.ts';
import { openTransport } from '../../stream/transport/index.ts';
import { openLog } from '../../stream/transport/log.ts';
import { run as runCommand } from '../commands.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { produceSmall } from '../stream/producing.ts';
import { type Delivered, delivered, ledgerOf } from './delivered.ts';
import { pick } from './length.ts';
import { type SmallDisk, smallDisk, smallDisks } from './small-disk.ts';

const PAGE = 4096;
const RUN = 'full';

interface Case {
  readonly name: string;
  readonly recipe: Recipe;
  readonly expected: { readonly hashes: Delivered['hashes']; readonly ledger: readonly string[] };
}

const recipeOf = (resolution: number, epochs: number): Recipe =>
  parseRecipe(
    {
      name: 'full',
      lanes: 2,
      phases: [{ resolution, epochs, batch: 8 }],
      optimizer: { lr: 0.05, weightDecay: 0 },
    },
    'a test',
  );

let shards: string;
/** Records of 49 KB lie in segments, those of 4 KB in LMDB itself. */
let large: Case;
let small: Case;

async function undisturbed(name: string, recipe: Recipe): Promise<Case> {
  const transport = await openTransport(`log:${join(temporaryFolder(), 'log')}`);
  try {
    await produceSmall({ transport, run: RUN, shards, recipe });
    const { hashes } = await delivered(transport, RUN);
    return { name, recipe, expected: { hashes, ledger: await ledgerOf(transport, RUN) } };
  } finally {
    await transport.close();
  }
}

before(async () => {
  shards = await packPhotos('64:80,16:24');
  large = await undisturbed('large', recipeOf(64, 4));
  small = await undisturbed('small', recipeOf(16, pick(10, 20)));
});

async function produce({ name, recipe }: Case, log: string) {
  const file = join(temporaryFolder(), `${name}.yaml`);
  await writeFile(file, JSON.stringify(recipe));
  const target = ['--run', RUN, '--transport', `log:${log}`];
  return runCommand('stream', ['produce', ...target, '--shards', shards, '--recipe', file, '--workers', '1']);
}

/** A process that ends by itself and says what is wrong; a signal would be LMDB's death. */
async function failsFor(wanted: Case, log: string): Promise<void> {
  const { code, signal, stderr } = await produce(wanted, log);
  assert.deepEqual([code, signal], [1, null], stderr);
  assert.match(stderr, /error log-unusable: .*\(\d+ bytes free\): .*free space/);
}

/** Everything that the ledger names is read, on the full disk, and is what it should be. How many steps that is. */
async function readsWhatIsThere({ expected }: Case, log: string): Promise<number> {
  const transport = await openTransport(`log:${log}`, { create: false });
  try {
    const meta = await readMeta(transport, RUN);
    if (!meta) return 0;
    const { complete, laneSteps } = await statusOf(transport, RUN, meta);
    if (complete === 0) return 0;
    const { hashes } = await delivered(transport, RUN, complete);
    for (const [slice, hash] of Object.entries(hashes)) assert.equal(hash, expected.hashes[slice], slice);
    return laneSteps.reduce((sum, steps) => sum + steps, 0);
  } finally {
    await transport.close();
  }
}

async function goesOnToTheEnd(wanted: Case, log: string): Promise<void> {
  const { code, stderr } = await produce(wanted, log);
  assert.equal(code, 0, stderr);
  const transport = await openTransport(`log:${log}`, { create: false });
  try {
    assert.deepEqual(await ledgerOf(transport, RUN), wanted.expected.ledger);
    assert.deepEqual((await delivered(transport, RUN)).hashes, wanted.expected.hashes);
  } finally {
    await transport.close();
  }
}

describe('disk full under the embedded log; LMDB map full', () => {
  describe('disk full', smallDisks(), () => {
    let disk: SmallDisk;
    let log: string;
    before(async () => {
      disk = await smallDisk(16 << 20);
    });
    after(() => disk.remove());

    const fresh = async () => {
      disk.leave(Number.POSITIVE_INFINITY);
      log = join(disk.dir, 'log');
      await rm(log, { recursive: true, force: true });
    };

    it('before the log is begun', async () => {
      await fresh();
      for (const pages of pick([0, 40], [0, 1, 2, 3, 5, 8, 13, 21, 40, 64, 70, 75])) {
        disk.leave(pages * PAGE);
        await failsFor(small, log);
      }
      disk.leave(Number.POSITIVE_INFINITY);
      await goesOnToTheEnd(small, log);
    });

    /** A new log with little room ahead. */
    async function begun(): Promise<void> {
      await fresh();
      disk.leave(1.2 * 2 ** 20);
      await (await openTransport(`log:${log}`)).close();
    }

    /** Fails at each of these numbers of free pages, and has come further each time; then there is room. */
    async function failsAgainAndAgain(wanted: Case, freePages: readonly number[]): Promise<void> {
      let before = 0;
      for (const pages of freePages) {
        disk.leave(pages * PAGE);
        await failsFor(wanted, log);
        const steps = await readsWhatIsThere(wanted, log);
        assert.ok(steps >= before, `${steps} lane-steps after ${before}`);
        before = steps;
      }
      assert.ok(before > 0, 'it came to some steps');
      disk.leave(Number.POSITIVE_INFINITY);
      await goesOnToTheEnd(wanted, log);
    }

    it('at the write of a segment', async () => {
      await begun();
      // A lane's step takes 13 pages.
      await failsAgainAndAgain(large, pick([110, 150], [1, 6, 13, 30, 100, 101, 102, 103, 150, 200]));
    });

    it('at the commit of LMDB, the records in it', async () => {
      await begun();
      await failsAgainAndAgain(small, pick([8, 12], [...Array(26).keys()]));
    });

    it('at the commit of LMDB, the records in segments on another disk', async () => {
      await begun();
      await rm(join(log, 'segments'), { recursive: true });
      const elsewhere = join(temporaryFolder(), 'segments');
      await mkdir(elsewhere);
      await symlink(elsewhere, join(log, 'segments'));
      await failsAgainAndAgain(large, pick([2, 4], [0, 1, 2, 3, 4]));
    });
  });

  describe('LMDB map full', () => {
    /** Far less than the run needs. */
    const MAP_BYTES = 64 * 1024;

    it('grows, for the process that fills it', async () => {
      const log = join(temporaryFolder(), 'log');
      const transport = await openLog(log, {}, MAP_BYTES);
      try {
        await produceSmall({ transport, run: RUN, shards, recipe: small.recipe });
        assert.deepEqual((await delivered(transport, RUN)).hashes, small.expected.hashes);
      } finally {
        await transport.close();
      }
      await goesOnToTheEnd(small, log);
    });

    it('grows, for a process that reads and writes what another has filled', async () => {
      const log = join(temporaryFolder(), 'log');
      const transport = await openLog(log, {}, MAP_BYTES);
      try {
        const { code, stderr } = await produce(small, log);
        assert.equal(code, 0, stderr);
        assert.deepEqual((await delivered(transport, RUN)).hashes, small.expected.hashes);
        await reportProgress(transport, RUN, { trainer: 't', rank: 0, consumedStep: 3, checkpointStep: 0 });
        const meta = await readMeta(transport, RUN);
        assert.ok(meta);
        assert.equal((await statusOf(transport, RUN, meta)).trainers.length, 1);
      } finally {
        await transport.close();
      }
    });
  });
});
