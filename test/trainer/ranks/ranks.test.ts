// Trainers under mpirun on one stream: 1, 2, 3 and 4 of them give the same bits, whatever is killed or stopped between.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import { identityOf, lives } from '#shards';
import { awaitRun, parseRecipe, type Recipe } from '#stream';
import { ProgressWatch } from '../../../stream/progress.ts';
import { statusOf } from '../../../stream/status.ts';
import { openTransport, type Transport } from '../../../stream/transport/index.ts';
import { latestCheckpoint } from '../../../trainer/checkpoint.ts';
import { consume } from '../../../trainer/consume.ts';
import { checkGroups } from '../../../trainer/ranks/exchange.ts';
import { type Command, run, startRanks, until } from '../../commands.ts';
import { packPhotos, temporaryFolder } from '../../packed.ts';
import { requirement } from '../../requirements.ts';
import { produceSmall, type SmallProduce } from '../../stream/producing.ts';

const RUN = 'shared';
/** An epoch of 3 steps of 24 photos. */
const recipeWith = (changes: object): Recipe =>
  parseRecipe(
    {
      name: 'shared',
      phases: [
        { resolution: 32, epochs: 2, batch: 24 },
        { resolution: 40, epochs: 1, batch: 24, fixres: { lr: 0.01, lrPerBatch: 24 } },
      ],
      model: { layers: [1, 1, 1, 1], width: 4, blurpool: 2 },
      optimizer: { lr: 0.05, lrPerBatch: 24, weightDecay: 5e-4, nesterov: true, warmupEpochs: 0.5 },
      mixup: { alpha: 0.2 },
      labelSmoothing: 0.1,
      checkpointSteps: 4,
      ...changes,
    },
    'a test',
  );
const STEPS = 9;
const timeout = 300_000;

suite('ranks', { timeout }, () => {
  let shards: string;
  before(async () => {
    shards = await packPhotos('32:40,40:48');
  });

  interface Stream {
    readonly transport: Transport;
    readonly url: string;
    produce(more?: Partial<SmallProduce>): Promise<unknown>;
    /** The arguments of a trainer with --json, and its folder. */
    consume(...more: string[]): { out: string; args: string[] };
  }

  async function withStream(recipe: Recipe, body: (stream: Stream) => Promise<void>): Promise<void> {
    const url = `log:${join(temporaryFolder(), 'log')}`;
    const transport = await openTransport(url);
    const where = ['--run', RUN, '--transport', url, '--backend', 'wasm', '--wait', '0'];
    try {
      await body({
        transport,
        url,
        produce: (more) => produceSmall({ transport, run: RUN, shards, recipe, ...more }),
        consume: (...more) => {
          const out = join(temporaryFolder(), 'out');
          return { out, args: ['consume', ...where, '--out', out, ...more] };
        },
      });
    } finally {
      await transport.close();
    }
  }

  /** One trainer, in this process. */
  async function alone(url: string, out: string): Promise<void> {
    await consume({
      transport: url,
      run: RUN,
      out,
      backend: 'wasm',
      settings: [],
      resume: true,
      allowOtherNumerics: false,
      waitMs: 0,
      prefetchBytes: 2 ** 24,
      signal: new AbortController().signal,
      onLine: () => {},
    });
  }

  /** The journal without its times, and the digests of what the newest checkpoint holds. */
  async function resultOf(out: string) {
    const lines = (await readFile(join(out, 'journal.jsonl'), 'utf8')).trim().split('\n');
    const journal = lines.map((line) => ({ ...JSON.parse(line), waitMs: 0 }));
    const folder = (await latestCheckpoint(out)) ?? assert.fail(`no checkpoint in ${out}`);
    const sha256 = async (file: string) =>
      createHash('sha256')
        .update(await readFile(join(folder, file)))
        .digest('hex');
    const files = (await readdir(folder)).filter((file) => file.endsWith('.safetensors')).sort();
    const digests = await Promise.all(files.map(async (file) => [file, await sha256(file)]));
    return { journal, digests };
  }

  const times = (ranks: number, args: readonly string[]) => Array.from({ length: ranks }, () => args);

  test(
    'SAM over all groups, clipped: 1, 2 and 4 ranks, the same losses, norms and weights',
    requirement('mpi'),
    async () => {
      const sam = { rho: 0.05, scope: 'global', bnSecondPass: true };
      await withStream(recipeWith({ lanes: 4, groups: 4, sam, clip: { norm: 1 } }), async (stream) => {
        await stream.produce();
        const one = stream.consume();
        await alone(stream.url, one.out);
        const expected = await resultOf(one.out);
        assert.equal(expected.journal.length, STEPS);
        assert.ok(expected.journal.every(({ unclippedNorm }) => unclippedNorm > 0));
        for (const ranks of [2, 4]) {
          const { out, args } = stream.consume('--json', '--ranks', String(ranks));
          const end = await startRanks(times(ranks, args)).ended;
          assert.equal(end.code, 0, end.stderr);
          const [line, ...more] = end.stdout.trim().split('\n');
          assert.deepEqual(more, [], 'rank 0 alone prints the result');
          const result = JSON.parse(line ?? '');
          assert.deepEqual([result.rank, result.ranks, result.evaluation.samples], [0, ranks, 18]);
          assert.deepEqual(await resultOf(out), expected);
        }
      });
    },
  );

  /** Produces the first `steps` at 32 px in every lane, and no more. */
  async function produceSteps({ transport, produce }: Stream, steps: number): Promise<void> {
    const whole = new AbortController();
    const producing = produce({ windowBytes: steps * 24 * 32 * 32 * 3, signal: whole.signal });
    const allLanes = async () => {
      const meta = await awaitRun(transport, RUN, 60_000, () => {});
      while ((await statusOf(transport, RUN, meta)).complete < steps) await new Promise((next) => setTimeout(next, 20));
      whole.abort();
    };
    await Promise.all([producing, allLanes()]);
  }

  /** Five steps are produced; resolves when as many ranks have trained on all of them. */
  async function untilTheyWait(command: Command, watch: ProgressWatch, ranks: number): Promise<void> {
    await until(command, async () => watch.reporting.filter(({ consumedStep }) => consumedStep === 4).length === ranks);
  }

  /** The process of a rank, from what the trainers say; `text` holds it all. */
  function processOf(text: string, rank: number): number {
    const [, pid] =
      new RegExp(`^${rank === 0 ? '' : `rank ${rank}: `}one of \\d ranks, process (\\d+)$`, 'm').exec(text) ?? [];
    return Number(pid ?? assert.fail(text));
  }

  /** Resolves when the process has ended; it was told to. */
  async function gone(pid: number): Promise<void> {
    const identity = await identityOf(pid);
    while (await lives(identity)) await new Promise((next) => setTimeout(next, 20));
  }

  function listening(command: Command): { readonly text: string } {
    const heard = { text: '' };
    command.child.stderr?.on('data', (data: Buffer) => {
      heard.text += data.toString();
    });
    return heard;
  }

  test(
    'SAM by group, EMA: 3 ranks killed, 2 stopped, 1 to the end is as 1 without a stop',
    requirement('mpi'),
    async () => {
      const sam = { rho: 0.05, scope: 'group', adaptive: true };
      await withStream(recipeWith({ lanes: 6, groups: 6, sam, ema: { halfLifeImages: 48 } }), async (stream) => {
        await produceSteps(stream, 5);
        const { out, args } = stream.consume('--resume');

        const killed = startRanks(times(3, args));
        const killedSays = listening(killed);
        const first = await ProgressWatch.open(stream.transport, RUN);
        await untilTheyWait(killed, first, 3);
        await first.close();
        process.kill(processOf(killedSays.text, 1), 'SIGKILL');
        assert.notEqual((await killed.ended).code, 0);
        // mpirun ends the others, and may be gone before they are.
        for (const rank of [0, 2]) await gone(processOf(killedSays.text, rank));
        assert.match((await latestCheckpoint(out)) ?? '', /checkpoint-00000004$/);

        const stopped = startRanks(times(2, args));
        const stoppedSays = listening(stopped);
        const second = await ProgressWatch.open(stream.transport, RUN);
        await untilTheyWait(stopped, second, 2);
        assert.deepEqual(second.trainers.map(({ rank }) => rank).sort(), [0, 1], 'rank 2 is not waited for');
        await second.close();
        // Rank 0, too, waits for data that does not come.
        process.kill(processOf(stoppedSays.text, 1), 'SIGTERM');
        const end = await stopped.ended;
        assert.equal(end.code, 1, end.stderr);
        assert.equal(end.stderr.match(/^error interrupted: a signal to stop at step 5 of 9/gm)?.length, 2, end.stderr);
        assert.ok(existsSync(join(out, 'checkpoint-00000005')));

        await stream.produce();
        await alone(stream.url, out);
        const whole = stream.consume();
        await alone(stream.url, whole.out);
        const expected = await resultOf(whole.out);
        assert.deepEqual(
          expected.digests.map(([file]) => file),
          ['ema.safetensors', 'optimizer.safetensors', 'weights.safetensors'],
        );
        assert.deepEqual(await resultOf(out), expected);
      });
    },
  );

  test('ranks that disagree end with the key that differs, and train nothing', requirement('mpi'), async () => {
    await withStream(recipeWith({ lanes: 4, groups: 4 }), async (stream) => {
      await stream.produce();
      const { out, args } = stream.consume();
      const end = await startRanks([args, [...args, '--set', 'optimizer.lr=0.2']]).ended;
      assert.equal(end.code, 1, end.stderr);
      const named = end.stderr.match(/^error ranks-disagree: rank 1: recipe\.optimizer\.lr = 0\.2; expected 0\.05/gm);
      assert.equal(named?.length, 2, end.stderr);
      assert.deepEqual(await readdir(out), ['trainer-id']);
    });
  });

  test('a rank whose loss is not finite ends all of them, inside a step', requirement('mpi'), async () => {
    await withStream(recipeWith({ lanes: 4, groups: 4 }), async (stream) => {
      await stream.produce();
      const { args } = stream.consume('--set', 'optimizer.lr=1e30');
      const end = await startRanks(times(2, args)).ended;
      assert.equal(end.code, 1, end.stderr);
      assert.match(end.stderr, /^error loss-not-finite: .* at step \d/m);
    });
  });

  test('ranks that cannot own whole groups are told which number could', () => {
    for (const ranks of [1, 2, 3, 6]) checkGroups({ groups: 6 }, ranks);
    assert.throws(
      () => checkGroups({ groups: 6 }, 4),
      ({ code, expected }) => code === 'groups-uneven' && expected.endsWith(': 1, 2, 3, 6'),
    );
  });

  test('ranks without MPI are told how to start', async () => {
    const nowhere = ['--run', RUN, '--transport', `log:${join(temporaryFolder(), 'log')}`, '--out', temporaryFolder()];
    const end = await run('trainer', ['consume', ...nowhere, '--rank', '1', '--ranks', '2']);
    assert.equal(end.code, 2);
    assert.match(end.stderr, /^error ranks-without-mpi: --rank 1 --ranks 2 .*mpirun -n 2 trainer consume/m);
  });
});
