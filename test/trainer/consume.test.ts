// A whole trainer in this process, on a real log: how it ends, and what it takes up again.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import { parseRecipe, topicsOf } from '#stream';
import { readMeta } from '../../stream/meta.ts';
import { ProgressWatch } from '../../stream/progress.ts';
import { statusOf } from '../../stream/status.ts';
import { openTransport, type Transport } from '../../stream/transport/index.ts';
import { type ConsumeOptions, consume } from '../../trainer/consume.ts';
import { run } from '../commands.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { produceSmall, type SmallProduce } from '../stream/producing.ts';

const RUN = 'small';
/** An epoch of 10 steps. */
const recipe = parseRecipe(
  {
    name: 'small',
    lanes: 2,
    phases: [{ resolution: 32, epochs: 1, batch: 8 }],
    model: { layers: [1, 1, 1, 1], width: 4, blurpool: 2 },
    optimizer: { lr: 0.05, weightDecay: 0 },
    checkpointSteps: 10,
  },
  'a test',
);
const timeout = 120_000;

suite('consume', { timeout }, () => {
  let shards: string;
  before(async () => {
    shards = await packPhotos('32:40');
  });

  async function withRun(
    more: Partial<SmallProduce>,
    body: (options: ConsumeOptions, transport: Transport) => Promise<void>,
  ): Promise<void> {
    const url = `log:${join(temporaryFolder(), 'log')}`;
    const transport = await openTransport(url);
    try {
      await produceSmall({ transport, run: RUN, shards, recipe, ...more });
      const options: ConsumeOptions = {
        transport: url,
        run: RUN,
        out: join(temporaryFolder(), 'out'),
        backend: 'wasm',
        settings: [],
        resume: false,
        allowOtherNumerics: false,
        waitMs: 0,
        prefetchBytes: 2 ** 24,
        signal: new AbortController().signal,
        onLine: () => {},
      };
      await body(options, transport);
    } finally {
      await transport.close();
    }
  }

  /** A producer that stops once six steps are written. */
  function firstSteps(): Partial<SmallProduce> {
    const full = new AbortController();
    return {
      windowBytes: 6 * 8 * 32 * 32 * 3,
      signal: full.signal,
      onEvent: ({ kind }) => kind === 'window' && full.abort(),
    };
  }

  test('tells whether it was starved: not by producers that were done before, but by those that come late', async () => {
    await withRun({}, async (options) => {
      const lines: string[] = [];
      const { data } = await consume({ ...options, onLine: (line) => lines.push(line) });
      assert.ok(data && data.producers < 0.01 && data.firstMs > 0, JSON.stringify(data));
      assert.equal(lines.filter((line) => /^data: waited \d+ % of the steps' time/.test(line)).length, 1);
      assert.ok(lines.some((line) => /^step 1\/10: loss .*, waited \d+ % of the time$/.test(line)));
    });
    await withRun(firstSteps(), async (options, transport) => {
      const { data } = await withLateProducer(options, transport);
      assert.ok(data?.starvedBy === 'producers' && data.producers > data.reading, JSON.stringify(data));
    });
  });

  /** The rest is produced when the trainer has reported all that was there: by then it waits. */
  async function withLateProducer(options: ConsumeOptions, transport: Transport) {
    const consuming = consume(options);
    consuming.catch(() => {});
    const { complete } = await statusOf(transport, RUN, (await readMeta(transport, RUN)) ?? assert.fail('no run'));
    const watch = await ProgressWatch.open(transport, RUN);
    while (watch.trainers[0]?.consumedStep !== complete - 1) await watch.changed();
    await watch.close();
    await produceSmall({ transport, run: RUN, shards, recipe });
    return consuming;
  }

  test('a report that cannot be written ends the run with its error, and leaves no lock', async () => {
    const part = firstSteps();
    await withRun(part, async (options, transport) => {
      // Only the reports fail: the records are there, and the rest of them would be waited for without an end.
      let deleted: Promise<void> | undefined;
      const onLine = (line: string) => {
        if (line.startsWith('step 1/')) deleted = transport.deleteTopics([topicsOf(RUN).progress]);
      };
      await assert.rejects(
        consume({ ...options, onLine }),
        ({ code, received }) => code === 'unknown-topic' && received.includes(topicsOf(RUN).progress),
      );
      await deleted;
      assert.deepEqual((await readdir(options.out)).sort(), ['journal.jsonl', 'trainer-id']);
    });
  });

  test('a signal in the last step does not undo that the plan is done; a resume tells what the journal lacks', async () => {
    await withRun({}, async (options) => {
      const stop = new AbortController();
      const checkpoint = join(options.out, 'checkpoint-00000010');
      const onLine = (line: string) => {
        if (!line.startsWith('epoch 0: val')) return;
        assert.ok(!existsSync(checkpoint), 'killed before here, the evaluation would never be done');
        stop.abort();
      };
      const result = await consume({ ...options, onLine, signal: stop.signal });
      assert.ok(existsSync(checkpoint));
      assert.ok(Number.isFinite(result.firstLoss) && Number.isFinite(result.finalLoss));
      assert.ok(Number(result.counters['bytes']) > 10 * 8 * 32 * 32 * 3);

      await rm(join(options.out, 'journal.jsonl'));
      const lines: string[] = [];
      const again = await consume({ ...options, resume: true, onLine: (line) => lines.push(line) });
      assert.ok(
        lines.some((line) => /journal holds no steps, the checkpoint resumes at 10/.test(line)),
        lines.join('\n'),
      );
      assert.deepEqual([again.firstLoss, again.finalLoss], [null, null]);
    });
  });

  test('wrong usage is told at once, however long the run may be waited for', async () => {
    const out = temporaryFolder();
    const taken = temporaryFolder();
    await mkdir(join(taken, 'checkpoint-00000010'));
    const nobody = ['consume', '--run', 'nobody', '--transport', `log:${join(temporaryFolder(), 'log')}`];
    const wrong: [args: string[], code: number, error: RegExp][] = [
      [['--out', out, '--backend', 'cuda'], 2, /^error backend-unknown: backend 'cuda'/m],
      [['--out', out, '--set', 'optimizer.lr'], 2, /^error usage: --set optimizer\.lr; expected KEY=VALUE/m],
      [['--out', taken], 1, /^error out-taken: .*checkpoint-00000010.*--resume/m],
    ];
    for (const [args, code, error] of wrong) {
      const end = await run('trainer', [...nobody, ...args]);
      assert.equal(end.code, code, end.stderr);
      assert.match(end.stderr, error);
    }
    assert.deepEqual(await readdir(out), []);
    assert.deepEqual(await readdir(taken), ['checkpoint-00000010']);
  });
});
