#!/usr/bin/env node
// The command `preprocess`: turns flags into options.

import { availableParallelism } from 'node:os';
import { Command, Option } from 'commander';
import { type Bucket, DEFAULT_BUCKETS, Fault, parseBuckets, runProgram, wholeNumber } from '#shards';
import type { PixelSettings } from './image.ts';
import { inspectCommand } from './inspect/command.ts';
import type { Part } from './job.ts';
import { merge } from './merge.ts';
import { dryRun, PACK_DEFAULTS, type PackOptions, pack, packPart } from './pack.ts';
import { progressPrinter } from './progress.ts';
import { describeDataset, describePart, describePlan, smallSources, summaryOf, summaryOfPart } from './report.ts';
import { needsMoreThreads, rerunWithThreads } from './threads.ts';
import { verifyCommand } from './verify/command.ts';

interface ShardFlags {
  readonly source: string;
  readonly out: string;
  readonly buckets: readonly Bucket[];
  readonly workers: number;
  readonly onError: PackOptions['onError'];
  readonly maxRejects: number;
  readonly resume: boolean;
  readonly part?: Part;
  readonly seed: number;
  readonly shardSamples: number;
  readonly kernel: PixelSettings['kernel'];
  readonly quality: number;
  readonly chroma: PixelSettings['chroma'];
  readonly exifOrientation: PixelSettings['orientation'];
  readonly timeout: number;
  readonly dryRun: boolean;
  readonly json: boolean;
}

const program = new Command('preprocess').description('Packs photos into shards, once, offline.');

program
  .command('shard')
  .description('pack photos into WebDataset shards, one bucket a resolution')
  .requiredOption(
    '--source <dir>',
    'class folders (train/CLASS/, val/CLASS/), the Kaggle layout, the ImageNet tars, or WebDataset shards',
  )
  .requiredOption('--out <dir>', 'folder to make; it must not exist or be empty')
  .addOption(
    new Option('--buckets <list>', 'resolutions as R or R:SHORTSIDE')
      .argParser(parseBuckets)
      .default(parseBuckets(DEFAULT_BUCKETS), DEFAULT_BUCKETS),
  )
  .option('--workers <n>', 'shards packed at once', wholeNumber('--workers', 1), availableParallelism())
  .addOption(
    new Option('--on-error <what>', 'of a source that cannot be packed')
      .choices(['skip', 'fail'])
      .default(PACK_DEFAULTS.onError),
  )
  .addOption(
    new Option(
      '--max-rejects <percent>',
      'with skip: end when more of the sources than this are rejected (one always may)',
    )
      .argParser(percent)
      .default(PACK_DEFAULTS.maxRejects, `${PACK_DEFAULTS.maxRejects * 100}%`),
  )
  .option('--resume', 'go on where a run into --out was ended', false)
  .addOption(new Option('--part <i/n>', `only this machine's share; 'preprocess merge' joins them`).argParser(partOf))
  .option('--seed <n>', 'of the order in the shards', seedOf, PACK_DEFAULTS.seed)
  .option(
    '--shard-samples <n>',
    'source positions a shard',
    wholeNumber('--shard-samples', 1),
    PACK_DEFAULTS.shardSamples,
  )
  .addOption(
    new Option('--kernel <name>', 'of the resize, antialiased')
      .choices(['lanczos3', 'bicubic', 'bilinear'])
      .default(PACK_DEFAULTS.pixels.kernel),
  )
  .option('--quality <n>', 'of the stored JPEGs, 1 to 100', qualityOf, PACK_DEFAULTS.pixels.quality)
  .addOption(
    new Option('--chroma <sampling>', 'of the stored JPEGs')
      .choices(['4:2:0', '4:4:4'])
      .default(PACK_DEFAULTS.pixels.chroma),
  )
  .addOption(
    new Option('--exif-orientation <what>', 'ignored by torchvision and so by the published results')
      .choices(['ignore', 'apply'])
      .default(PACK_DEFAULTS.pixels.orientation),
  )
  .option('--timeout <seconds>', 'for one image', timeoutOf, PACK_DEFAULTS.timeoutMs / 1000)
  .option('--dry-run', 'say what was found and how much room it takes; write nothing', false)
  .option('--json', 'print the result as one JSON object', false)
  .action(async (flags: ShardFlags) => {
    if (needsMoreThreads(flags.workers)) process.exitCode = await rerunWithThreads(flags.workers);
    else await shard(flags);
  });

program
  .command('merge')
  .description(`join the parts that 'preprocess shard --part I/N' has packed`)
  .argument('<parts...>', 'the folder of every part')
  .requiredOption('--out <dir>', 'folder to make; it must not exist or be empty')
  .option('--resume', 'go on where a merge into --out was ended', false)
  .option('--json', 'print the result as one JSON object', false)
  .action(async (parts: string[], { out, resume, json }: { out: string; resume: boolean; json: boolean }) => {
    const started = performance.now();
    const manifest = await merge({ out, parts, resume, signal: interruption() });
    print(json, { out, seconds: secondsSince(started), ...summaryOf(manifest) }, describeDataset);
  });

program.addCommand(verifyCommand()).addCommand(inspectCommand());

async function shard(flags: ShardFlags): Promise<void> {
  const { kernel, quality, chroma, exifOrientation, timeout, dryRun: dry, json, part, ...rest } = flags;
  const started = performance.now();
  const options: PackOptions = {
    ...rest,
    pixels: { kernel, quality, chroma, orientation: exifOrientation },
    timeoutMs: timeout * 1000,
    signal: interruption(),
    onPlan: (plan) => note(describePlan(plan)),
    onProgress: progressPrinter(process.stderr, () => performance.now()),
    onNotice: note,
  };
  if (dry) print(json, await dryRun(part ? { ...options, part } : options), describePlan);
  else if (part) {
    const result = summaryOfPart(await packPart({ ...options, part }));
    print(json, { out: flags.out, seconds: secondsSince(started), ...result }, describePart);
  } else {
    const manifest = await pack(options);
    for (const line of smallSources(manifest)) note(line);
    print(json, { out: flags.out, seconds: secondsSince(started), ...summaryOf(manifest) }, describeDataset);
  }
}

function print<T extends object>(json: boolean, result: T, describe: (result: T) => string): void {
  process.stdout.write(`${json ? JSON.stringify(result) : describe(result)}\n`);
}

function note(text: string): void {
  process.stderr.write(`note: ${text}\n`);
}

function secondsSince(started: number): number {
  return Math.round(performance.now() - started) / 1000;
}

/** Ends the run on the first SIGINT or SIGTERM, or when the process that started it with a channel is gone. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  const stop = (cause: string): void =>
    controller.abort(
      new Fault({
        code: 'interrupted',
        received: cause,
        expected: 'a run to its end',
        remedy: 'finished shards stay in --out: the same command with --resume goes on',
      }),
    );
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  process.once('disconnect', () => stop('the death of the parent process'));
  process.channel?.unref();
  // A file-size limit would end the process; with a listener the write fails instead, and says why.
  process.on('SIGXFSZ', () => {});
  return controller.signal;
}

/** 32 bits, as the random numbers take it. */
function seedOf(text: string): number {
  const seed = wholeNumber('--seed', 0)(text);
  if (seed <= 0xffffffff) return seed;
  throw usage(`--seed ${text}`, 'a whole number below 2^32', 'correct --seed');
}

function timeoutOf(text: string): number {
  const seconds = wholeNumber('--timeout', 1)(text);
  if (seconds <= 86_400) return seconds;
  throw usage(`--timeout ${text}`, 'at most a day, 86400 seconds', 'correct --timeout');
}

function qualityOf(text: string): number {
  const quality = wholeNumber('--quality', 1)(text);
  if (quality <= 100) return quality;
  throw usage(`--quality ${text}`, 'a whole number of 1 to 100', 'correct --quality');
}

/** `0.1%` gives 0.001. */
function percent(text: string): number {
  const value = Number(/^(\d+(?:\.\d+)?)%$/.exec(text)?.[1] ?? Number.NaN);
  if (value <= 100) return value / 100;
  throw usage(`--max-rejects ${text}`, 'a percentage of 0% to 100%', 'for example --max-rejects 0.5%');
}

/** `2/4` is the second of four. */
function partOf(text: string): Part {
  const [, index = 0, of = 0] = /^(\d{1,6})\/(\d{1,6})$/.exec(text)?.map(Number) ?? [];
  if (index >= 1 && index <= of) return { index, of };
  throw usage(`--part ${text}`, 'I/N with I of 1 to N', 'for example --part 1/4 on the first of four machines');
}

function usage(received: string, expected: string, remedy: string): Fault {
  return new Fault({ code: 'usage', received, expected, remedy, exit: 2 });
}

await runProgram(program);
