#!/usr/bin/env node
// The command `preprocess`: turns flags into options.

import { availableParallelism } from 'node:os';
import { Command, Option } from 'commander';
import { type Bucket, DEFAULT_BUCKETS, Fault, parseBuckets, runProgram, SPLITS, wholeNumber } from '#shards';
import { type PackOptions, pack } from './pack.ts';
import { progressPrinter } from './progress.ts';
import { needsMoreThreads, rerunWithThreads } from './threads.ts';

interface ShardFlags {
  readonly source: string;
  readonly out: string;
  readonly buckets: readonly Bucket[];
  readonly workers: number;
  readonly onError: PackOptions['onError'];
  readonly seed: number;
  readonly shardSamples: number;
  readonly json: boolean;
}

const program = new Command('preprocess').description('Packs photos into shards, once, offline.');

program
  .command('shard')
  .description('pack SOURCE/train/CLASS/* and SOURCE/val/CLASS/* into WebDataset shards, one bucket a resolution')
  .requiredOption('--source <dir>', 'folder with train/CLASS/ and val/CLASS/')
  .requiredOption('--out <dir>', 'folder to make; it must not exist or be empty')
  .addOption(
    new Option('--buckets <list>', 'resolutions as R or R:SHORTSIDE')
      .argParser(parseBuckets)
      .default(parseBuckets(DEFAULT_BUCKETS), DEFAULT_BUCKETS),
  )
  .option('--workers <n>', 'sources resized at once', wholeNumber('--workers', 1), availableParallelism())
  .addOption(
    new Option('--on-error <what>', 'of a source that cannot be packed').choices(['skip', 'fail']).default('fail'),
  )
  .option('--seed <n>', 'of the order in the shards', seedOf, 0)
  .option('--shard-samples <n>', 'source positions a shard', wholeNumber('--shard-samples', 1), 1024)
  .option('--json', 'print the result as one JSON object', false)
  .action(async (flags: ShardFlags) => {
    if (needsMoreThreads(flags.workers)) process.exitCode = await rerunWithThreads(flags.workers);
    else await shard(flags);
  });

async function shard({ json, ...options }: ShardFlags): Promise<void> {
  const started = performance.now();
  const manifest = await pack({
    ...options,
    signal: interruption(),
    onProgress: progressPrinter(process.stderr, () => performance.now()),
    onNotice: note,
  });
  const seconds = Math.round(performance.now() - started) / 1000;
  const buckets = SPLITS.flatMap((split) =>
    Object.values(manifest.splits[split].buckets).map((bucket) => ({ split, ...bucket })),
  );
  for (const { split, resolution, shortSide, notEnlarged } of buckets)
    if (notEnlarged > 0)
      note(`${notEnlarged} ${split} images of bucket ${resolution} are smaller than ${shortSide} and kept their size`);
  const { sha256, counts } = manifest.dataset;
  const result = {
    out: options.out,
    seconds,
    samples: counts.train + counts.val,
    shards: buckets.reduce((sum, bucket) => sum + bucket.shards.length, 0),
    bytes: buckets.reduce((sum, bucket) => sum + bucket.bytes, 0),
    rejects: manifest.rejects.count,
    datasetSha256: sha256,
  };
  const text =
    `packed ${counts.train} train and ${counts.val} val samples in ${result.shards} shards ` +
    `(${(result.bytes / 1e6).toFixed(1)} MB) into ${options.out} in ${seconds} s; ${result.rejects} rejects; dataset ${sha256}`;
  process.stdout.write(`${json ? JSON.stringify(result) : text}\n`);
}

function note(text: string): void {
  process.stderr.write(`note: ${text}\n`);
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
        remedy: 'nothing was left behind; run it again',
      }),
    );
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  process.once('disconnect', () => stop('the death of the parent process'));
  process.channel?.unref();
  return controller.signal;
}

/** 32 bits, as the random numbers take it. */
function seedOf(text: string): number {
  const seed = wholeNumber('--seed', 0)(text);
  if (seed <= 0xffffffff) return seed;
  throw new Fault({
    code: 'usage',
    received: `--seed ${text}`,
    expected: 'a whole number below 2^32',
    remedy: 'correct --seed',
    exit: 2,
  });
}

await runProgram(program);
