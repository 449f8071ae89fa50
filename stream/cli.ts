#!/usr/bin/env node
// The `stream` command: flags into options, events into lines.

import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { Fault, interruption, runProgram, wholeNumber } from '#shards';
import { type StageSums, stageLine, stageReport, sumsSince } from './bottleneck.ts';
import { inspectStep } from './inspect.ts';
import { awaitRun, readMeta } from './meta.ts';
import type { PoolCounters } from './pool.ts';
import { type ProduceEvent, produce } from './producer.ts';
import { loadRecipe, type Recipe, withSettings } from './recipe.ts';
import { addReplay } from './replay-command.ts';
import { statusOf } from './status.ts';
import { statusLines } from './status-lines.ts';
import { openTransport } from './transport/index.ts';
import type { Transport } from './transport/transport.ts';
import { unretainedPhase } from './window.ts';

const GIB = 1024 ** 3;
/** How long `stream status` measures rates. */
const RATE_MS = 1000;
const say = (line: string) => process.stderr.write(`${line}\n`);
const finish = (result: object, json: boolean, lines: readonly string[]) =>
  process.stdout.write(`${json ? JSON.stringify(result) : lines.join('\n')}\n`);

/** `create`: whether a log that is not there is made, as only a producer should. */
async function withTransport<Result>(
  url: string,
  create: boolean,
  use: (transport: Transport) => Promise<Result>,
): Promise<Result> {
  const transport = await openTransport(url, { onEvent: say, create });
  try {
    return await use(transport);
  } finally {
    await transport.close();
  }
}

/** Of a run that was begun. */
async function recipeOf(transport: Transport, run: string): Promise<Recipe> {
  const meta = await readMeta(transport, run);
  if (meta) return meta.recipe;
  throw new Fault({
    code: 'recipe-missing',
    received: `no --recipe, and no run '${run}' at ${transport.url} that has one`,
    expected: 'the recipe of a run that begins',
    remedy: 'give --recipe NAME|FILE, or correct --run and --transport',
    exit: 2,
  });
}

const collect = (value: string, all: string[]) => [...all, value];

/** Progress at most once a second, and waits for the window once in ten, as plain lines. */
function teller(recipe: Recipe, windowBytes: number, workers: number): (event: ProduceEvent) => void {
  let told = performance.now();
  let before: StageSums = { images: 0, read: 0, decode: 0, kernel: 0, append: 0, wait: 0 };
  let held = Number.NEGATIVE_INFINITY;
  let steps = 0;
  let lanes = 1;
  return (event) => {
    if (event.kind === 'begun') {
      ({ steps } = event.plan);
      say(`plan ${event.planHash.slice(0, 12)}: ${steps} steps, ${event.plan.lanes} lanes`);
      for (const { index, resolution, epochs, stepsPerEpoch, batch, dropped } of event.plan.phases)
        say(
          `  phase ${index}: ${epochs} epochs of ${stepsPerEpoch} steps of ${batch} at ${resolution} px, ${dropped} samples of each epoch dropped`,
        );
      const atRisk = unretainedPhase(event.plan, recipe.checkpointSteps, windowBytes);
      if (atRisk)
        say(
          `note: phase ${atRisk.index} consumes more than the window between two checkpoints, so a trainer that is killed may need --from-step; raise --window or lower checkpointSteps`,
        );
    } else if (event.kind === 'lanes') {
      lanes = Math.max(1, event.lanes.length);
      say(event.lanes.length === 0 ? 'owns no lanes: others write' : `owns lanes ${event.lanes.join(' ')}`);
    } else if (event.kind === 'from') {
      const from = [...event.steps].map(([lane, step]) => `${lane}: ${step}`);
      say(`from step, by lane: ${from.join(', ')}; to step ${event.to}`);
    } else if (event.kind === 'window') {
      const now = performance.now();
      if (now - held < 10_000) return;
      held = now;
      say(
        `lane ${event.lane} waits at step ${event.step}: the window is full, for ${event.slowest ?? 'a first trainer'} (--forget lets go of one that is gone)`,
      );
    } else if (event.kind === 'replaced') {
      for (const what of event.damaged) say(`warning: replaced by its neighbour: ${what}`);
    } else {
      const now = performance.now();
      if (now - told < 1000) return;
      const { counters, record } = event;
      const stages = stageReport(sumsSince(before, counters), { workers, lanes, seconds: (now - told) / 1000 });
      if (stages === null) return;
      const rate = ((counters.images - before.images) * 1000) / (now - told);
      say(`step ${record.step + 1}/${steps}: ${rate.toFixed(0)} images/s; ${stageLine(stages)}`);
      told = now;
      before = counters;
    }
  };
}

/** What was not made in the ordinary way. */
function fallbacks({ retries, idleDeaths, viaTurbo, viaSharp, replaced }: PoolCounters): string {
  return `${retries} retries, ${idleDeaths} idle workers died; decoded by libjpeg-turbo ${viaTurbo}, by sharp ${viaSharp}; ${replaced} damaged and replaced`;
}

const run = ['--run <name>', "the run's name: its topics are NAME.train.R, NAME.val.R, NAME.meta, …"] as const;
const transport = ['--transport <url>', 'kafka://HOST:PORT[,HOST:PORT…] or log:DIR'] as const;
const json = ['--json', 'print the result as one object on the last line'] as const;

const program = new Command('stream').description('packed shards → batches in a log, a pure function of the plan');

program
  .command('produce')
  .description("write a run's batches, from where its ledger ends to the plan's end")
  .requiredOption('--shards <dir>', "what 'preprocess shard' wrote")
  .option('--recipe <name|file>', 'a name in stream/recipes or a YAML file; a run that was begun knows its own')
  .requiredOption(...run)
  .requiredOption(...transport)
  .option('--set <key=value>', 'change a key of the recipe, as in --set seed=1; may be repeated', collect, [])
  .option('--workers <n>', 'pool workers', wholeNumber('--workers', 1), availableParallelism())
  .option('--window <bytes>', 'most bytes of lead over the slowest trainer', wholeNumber('--window', 1), 8 * GIB)
  .option('--memory <bytes>', 'most bytes of rendered batches in memory', wholeNumber('--memory', 1), GIB)
  .option(
    '--from-step <s>',
    "make steps S to each lane's highest again, compared with the ledger",
    wholeNumber('--from-step', 0),
  )
  .option('--forget <trainer>', 'a trainer that will not come back; may be repeated', collect, [])
  .option(...json)
  .action(async (options) => {
    // Before a log is made: a recipe that is wrong should leave nothing behind.
    const given = options.recipe && withSettings(await loadRecipe(options.recipe), options.set);
    const signal = interruption();
    let begun = { at: performance.now(), lanes: 1 };
    const counters = await withTransport(options.transport, given !== undefined, async (opened) => {
      const recipe = given ?? withSettings(await recipeOf(opened, options.run), options.set);
      const tell = teller(recipe, options.window, options.workers);
      const produced = await produce({
        transport: opened,
        run: options.run,
        shards: options.shards,
        recipe,
        workers: options.workers,
        windowBytes: options.window,
        memoryBytes: options.memory,
        ...(options.fromStep === undefined ? {} : { fromStep: options.fromStep }),
        forget: options.forget,
        signal,
        onEvent: (event) => {
          if (event.kind === 'begun') begun = { at: performance.now(), lanes: event.plan.lanes };
          tell(event);
        },
      });
      return { ...produced, transport: opened.counters };
    });
    if (signal.aborted)
      throw new Fault({
        code: 'interrupted',
        received: 'a signal to stop',
        expected: 'the end of the plan',
        remedy: 'start the same command again: it goes on after the ledger',
      });
    const seconds = (performance.now() - begun.at) / 1000;
    const stages = stageReport(counters, { workers: options.workers, lanes: begun.lanes, seconds });
    finish({ run: options.run, seconds, ...counters, stages }, options.json, [
      `done: ${counters.images} images, ${(counters.bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(1)} s; ${fallbacks(counters)}`,
      ...(stages ? [stageLine(stages)] : []),
    ]);
  });

program
  .command('status')
  .description('how far lanes and trainers are, who produces, who waits for whom')
  .requiredOption(...run)
  .requiredOption(...transport)
  .option(...json)
  .action((options) =>
    withTransport(options.transport, false, async (opened) => {
      const status = await statusOf(opened, options.run, await awaitRun(opened, options.run, 0, say), RATE_MS);
      finish(status, options.json, statusLines(status));
    }),
  );

program
  .command('inspect')
  .description('an augmented batch as a picture')
  .requiredOption(...run)
  .requiredOption(...transport)
  .requiredOption('--step <s>', 'which step', wholeNumber('--step', 0))
  .requiredOption('--image <file>', 'the PNG to write')
  .option(...json)
  .action((options) =>
    withTransport(options.transport, false, async (opened) => {
      const meta = await awaitRun(opened, options.run, 0, say);
      if (options.step >= meta.plan.steps)
        throw new Fault({
          code: 'step-out-of-range',
          received: `step ${options.step}`,
          expected: `a step in 0 … ${meta.plan.steps - 1}`,
          remedy: 'correct --step',
          exit: 2,
        });
      const tiles = await inspectStep(opened, options.run, meta, options.step, options.image);
      finish(
        { image: options.image, tiles },
        options.json,
        tiles.map(
          ({ labelA, labelB, lam }, i) => `${i}: ${lam.toFixed(3)} ${labelA} + ${(1 - lam).toFixed(3)} ${labelB}`,
        ),
      );
    }),
  );

addReplay(program, { run, transport, json, withTransport, say, finish });

await runProgram(program);
