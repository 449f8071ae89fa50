// Producers as processes: one is killed, one is stopped for longer than its session and goes on, one comes. A trainer reads along.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { type RunMeta, readMeta } from '../../stream/meta.ts';
import { statusOf } from '../../stream/status.ts';
import { openTransport } from '../../stream/transport/index.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { startBroker } from '../broker.ts';
import { type Command, start } from '../commands.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { ledgerDigests } from '../stream/digests.ts';
import { pick } from './length.ts';
import { BUCKETS, longRecipe, windowOf } from './long-recipe.ts';
import { LONGEST_GAP_MS, train } from './trainer.ts';
import { type Undisturbed, undisturbed } from './undisturbed.ts';

/** Longer than a session on either log. */
const STOPPED_MS = pick(11_000, 20_000);
/** Within which all lanes must have a producer again. */
const OWNED_AGAIN_MS = 15_000;
/** So that the plan does not end before all has been done to it. */
const PACE_MS = 100;
const STEPS = pick(400, 800);
const RUN = 'producers';

const recipe = longRecipe(STEPS);

describe('3 producers: one SIGKILLed, one SIGSTOPped for 20 s then continued, one joining', () => {
  let shards: string;
  let file: string;
  let expected: Undisturbed;
  const started: Command[] = [];
  // What a failed case left running would keep this process alive.
  afterEach(() => {
    for (const { child } of started.splice(0)) child.kill('SIGKILL');
  });
  before(async () => {
    shards = await packPhotos(BUCKETS);
    file = join(temporaryFolder(), 'recipe.yaml');
    await writeFile(file, stringify(recipe));
    expected = await undisturbed(shards, recipe);
  });

  function producer(url: string): Command {
    const target = ['--run', RUN, '--transport', url, '--shards', shards, '--recipe', file];
    const command = start('stream', ['produce', ...target, '--workers', '1', '--window', String(windowOf(20))]);
    started.push(command);
    return command;
  }

  /** Stopped and continued by a process of its own: on the embedded log this one may have to wait for the stopped one. */
  async function stopAndContinue({ child }: Command, whileStopped: () => Promise<void>): Promise<void> {
    const script = `kill -STOP ${child.pid}; sleep ${STOPPED_MS / 1000}; kill -CONT ${child.pid}`;
    const stopping = once(spawn('sh', ['-c', script], { stdio: 'ignore' }), 'close');
    await whileStopped();
    await stopping;
  }

  /** `movesOn`: whether the others can write whatever a stopped process was doing. */
  async function disturb(url: string, transport: Transport, movesOn: boolean): Promise<void> {
    const first = producer(url);
    const others = [producer(url), producer(url)];
    let meta: RunMeta | null = null;
    while (!meta) {
      await sleep(50);
      if ((await transport.partitions(`${RUN}.meta`)) !== null) meta = await readMeta(transport, RUN);
    }
    const run = meta;
    /** Until these processes, and nobody else, own all lanes that are not at their end; how long that took. */
    const shared = async (among: readonly Command[]): Promise<number> => {
      const since = performance.now();
      const wanted = among.map(({ child }) => child.pid).sort();
      for (;;) {
        const { producers, unowned, joining } = await statusOf(transport, RUN, run);
        const owners = producers.filter(({ lanes }) => lanes.length > 0).map(({ pid }) => pid);
        if (joining === 0 && unowned.length === 0 && owners.sort().join() === wanted.join())
          return performance.now() - since;
        assert.ok(performance.now() - since < 60_000, `own lanes: ${owners.join()}; should: ${wanted.join()}`);
        await sleep(100);
      }
    };

    let pace = PACE_MS;
    const training = train({ transport, run: RUN, expected, onStep: () => sleep(pace) });
    training.catch(() => {});
    const [second, third] = others as [Command, Command];
    await shared([first, second, third]);
    const left: number[] = [];

    first.child.kill('SIGKILL');
    assert.equal((await first.ended).signal, 'SIGKILL');
    left.push(await shared([second, third]));

    let joining: Command | undefined;
    await stopAndContinue(second, async () => {
      if (movesOn) left.push(await shared([third]));
      joining = producer(url);
    });
    assert.ok(joining);
    await shared([second, third, joining]);

    pace = 0;
    const trained = await training;
    for (const { ended } of [second, third, joining]) {
      const { code, stderr } = await ended;
      assert.equal(code, 0, stderr);
    }
    assert.equal(trained.steps, expected.plan.steps);
    for (const ms of left) assert.ok(ms < OWNED_AGAIN_MS, `all lanes were owned again after ${left.join()} ms`);
    assert.ok(trained.longestGapMs < LONGEST_GAP_MS, `${trained.longestGapMs} ms without a step`);
    assert.deepEqual(await ledgerDigests(transport, RUN), expected.digests);
  }

  it('on Kafka the stream is the same to the bit', requirement('kafka'), async () => {
    const broker = await startBroker();
    const transport = await openTransport(broker.transport);
    try {
      await disturb(broker.transport, transport, true);
    } finally {
      await transport.close();
      await broker.stop();
    }
  });

  // Whoever is stopped inside a commit holds LMDB's lock: then all wait until it goes on.
  it('on the embedded log the stream is the same to the bit', {
    skip: pick<string | false>('only in the long form', false),
  }, async () => {
    const url = `log:${join(temporaryFolder(), 'log')}`;
    const transport = await openTransport(url);
    try {
      await disturb(url, transport, false);
    } finally {
      await transport.close();
    }
  });
});
