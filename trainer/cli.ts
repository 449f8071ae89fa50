#!/usr/bin/env node
// The `trainer` command: flags into options.

import { Command, Option } from 'commander';
import { interruption, runProgram, SPLITS, wholeNumber } from '#shards';
import { parseSetting } from '#stream';
import { type ConsumeOptions, consume } from './consume.ts';
import { evaluateCheckpoint } from './evaluate-checkpoint.ts';
import { KEEP } from './kept-checkpoints.ts';

const GIB = 1024 ** 3;
const say = (line: string) => process.stderr.write(`${line}\n`);
const figure = (loss: number | null) => loss?.toFixed(4) ?? 'unknown';
const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
const backendOption = () => new Option('--backend <name>', 'auto, tfjs-node or wasm').default('auto');

/** The form of a --set is checked here; which keys and values there are, the run's recipe tells. */
function collectSetting(setting: string, all: string[]): string[] {
  parseSetting(setting);
  return [...all, setting];
}

const program = new Command('trainer').description('batches from a log → a trained BlurPool ResNet');

program
  .command('consume')
  .description("train on a run's batches, topic after topic, to the plan's end")
  .requiredOption('--run <name>', "the run's name")
  .requiredOption('--transport <url>', 'kafka://HOST:PORT[,HOST:PORT…] or log:DIR')
  .requiredOption('--out <dir>', 'checkpoints, journal; of several ranks, rank 0 writes them')
  .addOption(backendOption())
  .option(
    '--set <key=value>',
    'change a key of the recipe outside the stream, as in --set optimizer.lr=0.2',
    collectSetting,
    [],
  )
  .option('--rank <r>', "this process's rank under mpirun; default MPI's own", wholeNumber('--rank', 0))
  .option('--ranks <n>', 'how many trainers share the stream; default as mpirun started', wholeNumber('--ranks', 1))
  .option('--resume', 'go on from the newest checkpoint in OUT, from step 0 if there is none', false)
  .option(
    '--keep <k>',
    'how many of the newest checkpoints stay; the best one stays too',
    wholeNumber('--keep', 1),
    KEEP,
  )
  .option('--allow-other-numerics', 'resume under another backend, library, thread count, processor or V8', false)
  .option('--wait <seconds>', 'how long to wait for a run that nobody has begun', wholeNumber('--wait', 0), 300)
  .option('--prefetch <bytes>', 'most bytes of batches read ahead', wholeNumber('--prefetch', 1), GIB)
  .option('--json', 'print the result as one object on the last line', false)
  .action(async ({ set, wait, prefetch, json, ...flags }) => {
    const options: ConsumeOptions = {
      ...flags,
      settings: set,
      waitMs: wait * 1000,
      prefetchBytes: prefetch,
      signal: interruption(),
      onLine: say,
    };
    const result = await consume(options);
    if (result.rank > 0) return;
    const { steps, seconds, firstLoss, finalLoss, evaluation } = result;
    const text = `done: ${steps} steps in ${seconds.toFixed(1)} s; loss ${figure(firstLoss)} → ${figure(finalLoss)}`;
    const scores = evaluation ? `; val top-1 ${percent(evaluation.top1)}, top-5 ${percent(evaluation.top5)}` : '';
    process.stdout.write(`${json ? JSON.stringify(result) : text + scores}\n`);
  });

program
  .command('evaluate')
  .description("a checkpoint's scores on packed shards")
  .requiredOption('--checkpoint <dir>', "a folder checkpoint-STEP, or a trainer's OUT, whose newest is taken")
  .requiredOption('--shards <dir>', "what 'preprocess shard' wrote")
  .option('--resolution <r>', "which bucket; default the last phase's", wholeNumber('--resolution', 1))
  .addOption(new Option('--split <name>', 'which split').choices(SPLITS).default('val'))
  .addOption(backendOption())
  .option('--json', 'print the result as one object on the last line', false)
  .action(async ({ json, ...options }) => {
    const result = await evaluateCheckpoint(options);
    const { split, samples, resolution, cropRatio, top1, top5, loss, step, weights } = result;
    const images = `${split}, ${samples} samples at ${resolution} px, crop ratio ${cropRatio}`;
    const where = `${images}, step ${step}, ${weights} weights`;
    const text = `top-1 ${percent(top1)}, top-5 ${percent(top5)}, loss ${loss.toFixed(4)} (${where})`;
    process.stdout.write(`${json ? JSON.stringify(result) : text}\n`);
  });

await runProgram(program);
