// `ops bench NAME`: flags into options, results into lines.

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { DEFAULT_BUCKETS, Fault, interruption, parseBuckets, wholeNumber } from '#shards';
import { packageRoot } from '../setup/plain.ts';

interface Flags {
  readonly images: number;
  readonly rounds: number;
  readonly workers: number;
  readonly json?: true;
}

const interrupted = (signal: string) =>
  new Fault({ code: 'interrupted', received: signal, expected: "the benchmark's end", remedy: 'run it again' });

const say = (line: string) => process.stderr.write(`${line}\n`);

export function benchCommand(): Command {
  const bench = new Command('bench').description('benchmarks, each beside what others have, in interleaved rounds');
  const add = (name: string, description: string) =>
    bench
      .command(name)
      .description(description)
      .option('--images <n>', 'photos, made once after ImageNet’s statistics', wholeNumber('--images', 104), 3000)
      .option('--rounds <n>', 'times each contender runs; medians count', wholeNumber('--rounds', 1), 3)
      .option('--workers <n>', 'of every contender', wholeNumber('--workers', 1), availableParallelism())
      .option('--json', 'end with the result as one JSON object');
  const options = ({ images, rounds, workers }: Flags) => {
    const buckets = parseBuckets(DEFAULT_BUCKETS);
    return { images, rounds, workers, buckets, say, signal: interruption(interrupted) };
  };

  add('preprocess', 'photos into shards of three buckets: beside sharp alone, Python’s webdataset and FFCV').action(
    async (flags: Flags) => {
      const { benchPreprocess } = await import('./preprocess.ts');
      const { report } = await import('./report.ts');
      const result = await benchPreprocess(options(flags));
      process.stdout.write(`${flags.json ? JSON.stringify(result) : report(result)}\n`);
    },
  );

  add('peers', 'every comparison and every interop check; ends with 1 where a peer is missing or a check fails').action(
    async (flags: Flags) => {
      const { benchPeers, checkLines } = await import('./peers.ts');
      const { report } = await import('./report.ts');
      const result = await benchPeers(options(flags));
      const text = [report(result.preprocess), '', ...checkLines(result)].join('\n');
      process.stdout.write(`${flags.json ? JSON.stringify(result) : text}\n`);
      if (!result.pass) process.exitCode = 1;
    },
  );

  bench
    .command('quality')
    .description('what stored images lose by kernel, JPEG quality, chroma and decoder: PSNR and SSIM')
    .option('--source <dir>', 'class folders of JPEGs', fileURLToPath(new URL('test/fixtures/photos', packageRoot)))
    .option('--images <n>', 'of them, the largest first', wholeNumber('--images', 1), 16)
    .option('--json', 'end with the result as one JSON object')
    .action(async ({ source, images, json }: { source: string; images: number; json?: true }) => {
      const { benchQuality } = await import('./quality.ts');
      const { qualityReport } = await import('./report.ts');
      const result = await benchQuality({ photos: source, images, say });
      process.stdout.write(`${json ? JSON.stringify(result) : qualityReport(result)}\n`);
    });
  return bench;
}
