#!/usr/bin/env node
// The `trainer` command: flags into options.

import { Command, Option } from 'commander';
import { Fault, interruption, runProgram, SPLITS, wholeNumber } from '#shards';
import { parseSetting } from '#stream';
import { type ConsumeOptions, consume } from './consume.ts';
import { evaluateCheckpoint } from './evaluate-checkpoint.ts';
import { exportCheckpoint } from './export.ts';
import { importWeights } from './import.ts';
import { KEEP } from './kept-checkpoints.ts';

const GIB = 1024 ** 3;
const say = (line: string) => process.stderr.write(`${line}\n`);
const figure = (loss: number | null) => loss?.toFixed(4) ?? 'unknown';
const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
const checkpointOption = () =>
  new Option('--checkpoint <dir>', "checkpoint-STEP, a trainer's OUT (its newest), or an imported folder");
const weightsOption = () =>
  new Option('--weights <which>', 'default the average where there is one').choices(['trained', 'average']);
const backendOption = () => new Option('--backend <name>', 'auto, tfjs-node or wasm').default('auto');

/** The form of a --set is checked here; which keys and values there are, the run's recipe tells. */
function collectSetting(setting: string, all: string[]): string[] {
  parseSetting(setting);
  return [...all, setting];
}

function share(option: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (value > 0 && value <= 1) return value;
    const received = `${option} ${text}`;
    throw new Fault({ code: 'usage', received, expected: 'over 0, up to 1', remedy: `correct ${option}`, exit: 2 });
  };
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
  .option('--init <dir>', 'start at step 0 from these weights: a checkpoint, or an imported folder')
  .option('--new-head', 'with --init: fc starts from the seed, as for other classes', false)
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
  .description("weights' scores on packed shards, or on original files by the protocol of published figures")
  .addOption(checkpointOption().makeOptionMandatory())
  .option('--shards <dir>', "what 'preprocess shard' wrote")
  .option('--source <dir>', "or original files, as 'preprocess shard' takes them")
  .option('--resolution <r>', "which bucket; default the last phase's", wholeNumber('--resolution', 1))
  .option('--crop-ratio <share>', "side of the crop over the short side; default the recipe's", share('--crop-ratio'))
  .addOption(new Option('--split <name>', 'which split').choices(SPLITS).default('val'))
  .option('--flip', "average with the mirror image's probabilities", false)
  .addOption(weightsOption())
  .option('--report <file>', 'write scores by class and the confusion matrix, JSON')
  .option('--predictions <file>', 'write a line a sample, CSV')
  .addOption(backendOption())
  .option('--json', 'print the result as one object on the last line', false)
  .action(async ({ json, ...options }) => {
    const result = await evaluateCheckpoint({ ...options, onLine: say });
    const { split, samples, resolution, cropRatio, flip, weights, top1, top5, top1Interval, loss, step } = result;
    const how = `${flip ? ', with mirror images' : ''}${weights === 'average' ? ', average weights' : ''}, step ${step}`;
    const where = `${split}, ${samples} samples at ${resolution} px, crop ratio ${cropRatio}${how}`;
    const sure = top1Interval.map((share) => (100 * share).toFixed(1)).join('–');
    const text = `top-1 ${percent(top1)} (95 %: ${sure}), top-5 ${percent(top5)}, loss ${loss.toFixed(4)} (${where})`;
    process.stdout.write(`${json ? JSON.stringify(result) : text}\n`);
  });

program
  .command('export')
  .description("weights as a safetensors file that loads strictly into antialiased-cnns' or torchvision's ResNet")
  .addOption(checkpointOption().makeOptionMandatory())
  .requiredOption('--out <file>', 'the safetensors file to write')
  .addOption(weightsOption())
  .option('--force', 'replace the file where it is there', false)
  .option('--json', 'print the result as one object on the last line', false)
  .action(async ({ json, ...options }) => {
    const result = await exportCheckpoint(options);
    const { out, tensors, parameters, bytes, weights, torch } = result;
    const text = `${out}: ${tensors} tensors, ${parameters} parameters (${weights}), ${bytes} bytes, for ${torch}`;
    process.stdout.write(`${json ? JSON.stringify(result) : text}\n`);
  });

program
  .command('import')
  .description(
    "a state_dict() of antialiased-cnns' or torchvision's ResNet → a folder for evaluate, export, consume --init",
  )
  .requiredOption('--weights <file>', 'a safetensors file')
  .requiredOption('--out <dir>', 'the folder to make')
  .option('--force', 'replace an import that is there', false)
  .option('--json', 'print the result as one object on the last line', false)
  .action(async ({ json, ...options }) => {
    const result = await importWeights({ ...options, onLine: say });
    const { block, layers, width, blurpool } = result.model;
    const model = `${block} blocks [${layers}], width ${width}, blurpool ${blurpool}, ${result.classes} classes`;
    const text = `${result.out}: ${result.parameters} parameters; ${model}`;
    process.stdout.write(`${json ? JSON.stringify(result) : text}\n`);
  });

await runProgram(program);
