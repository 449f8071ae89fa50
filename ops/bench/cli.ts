// `ops bench NAME`: flags into options, results into lines.

import { writeFile } from 'node:fs/promises';
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

interface LoaderFlags extends Flags {
  readonly photos: number;
}

interface PeersFlags extends Flags {
  readonly loaderImages: number;
  readonly loaderRounds: number;
  readonly chart?: string;
}

interface RecipeFlags {
  readonly seeds: number;
  readonly recipe: string;
  readonly backend: string;
  readonly parallel: number;
  readonly pytorch: boolean;
  readonly python?: string;
  readonly out: string;
  readonly resume: boolean;
  readonly json?: true;
}

const CHART = ['--chart <file>', 'the SVG to write, of the loaders'] as const;

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

  add('peers', 'every comparison and every interop check; ends with 1 where a peer is missing or a check fails')
    .option('--loader-images <n>', 'a loader, case and round', wholeNumber('--loader-images', 64), 3000)
    .option('--loader-rounds <n>', 'times each loader runs a case', wholeNumber('--loader-rounds', 1), 5)
    .option(...CHART)
    .action(async (flags: PeersFlags) => {
      const { benchPeers, checkLines } = await import('./peers.ts');
      const { report } = await import('./report.ts');
      const { loaderChart, loaderReport } = await import('./loader-report.ts');
      const { loaderImages, loaderRounds, chart } = flags;
      const result = await benchPeers({ ...options(flags), loaderImages, loaderRounds });
      if (chart !== undefined) await writeFile(chart, loaderChart(result.loaders));
      const tables = [loaderReport(result.loaders), report(result.preprocess), checkLines(result).join('\n')];
      process.stdout.write(`${flags.json ? JSON.stringify(result) : tables.join('\n\n')}\n`);
      if (!result.pass) process.exitCode = 1;
    });

  const addLoader = (name: string, description: string, { images, rounds } = { images: 3000, rounds: 5 }) =>
    bench
      .command(name)
      .description(description)
      .option('--photos <n>', 'photos, made and packed once', wholeNumber('--photos', 104), 1000)
      .option('--images <n>', 'images a case and round', wholeNumber('--images', 64), images)
      .option('--rounds <n>', 'times each contender runs; medians count', wholeNumber('--rounds', 1), rounds)
      .option('--workers <n>', 'of every contender', wholeNumber('--workers', 1), availableParallelism())
      .option('--json', 'end with the result as one JSON object');
  const loaderOptions = ({ photos, images, rounds, workers }: LoaderFlags) => {
    return { photos, images, rounds, workers, say, signal: interruption(interrupted) };
  };
  const finish = ({ json }: LoaderFlags, result: object, text: string) =>
    process.stdout.write(`${json ? JSON.stringify(result) : text}\n`);

  addLoader('decode', 'what bounds a loader: libjpeg-turbo alone, and sharp, in ms an image and core').action(
    async (flags: LoaderFlags) => {
      const { benchDecode } = await import('./pipeline.ts');
      const { decodeReport } = await import('./loader-report.ts');
      const result = await benchDecode(loaderOptions(flags));
      finish(flags, result, decodeReport(result));
    },
  );

  addLoader(
    'pipeline',
    'our pool from shards to records in memory: ms an image by stage, scaling, 4 against 400 shards',
    { images: 12_000, rounds: 5 }, // some seconds: a contender that has waited for its turn is slow at first
  )
    .option('--capacity <file>', 'the JSON to write: figures a core for the capacity planner')
    .action(async (flags: LoaderFlags & { readonly capacity?: string }) => {
      const { benchPipeline } = await import('./pipeline.ts');
      const { pipelineReport } = await import('./loader-report.ts');
      const { capacityFigures } = await import('./capacity.ts');
      const result = await benchPipeline(loaderOptions(flags));
      const { capacity } = flags;
      if (capacity !== undefined)
        await writeFile(capacity, `${JSON.stringify(capacityFigures(result, new Date()), null, 2)}\n`);
      finish(flags, result, pipelineReport(result));
    });

  bench
    .command('soak')
    .description(
      'our pool over very many images with consumers that are slow, stop and die; ends with 1 if memory grows',
    )
    .option('--photos <n>', 'photos, made and packed once', wholeNumber('--photos', 104), 1000)
    .option('--images <n>', 'that are made of them', wholeNumber('--images', 1000), 200_000)
    .option('--workers <n>', 'of the pool', wholeNumber('--workers', 1), availableParallelism())
    .option('--json', 'end with the result as one JSON object')
    .action(async (flags: Omit<LoaderFlags, 'rounds'>) => {
      const { benchSoak } = await import('./soak.ts');
      const { soakReport } = await import('./loader-report.ts');
      const result = await benchSoak({ ...flags, say, signal: interruption(interrupted) });
      process.stdout.write(`${flags.json ? JSON.stringify(result) : soakReport(result)}\n`);
      if (!result.flat) process.exitCode = 1;
    });

  bench
    .command('trainer-soak')
    .description('a training with SAM, evaluations and checkpoints; ends with 1 if tensors, handles or memory grow')
    .option('--steps <n>', 'a multiple of 100', wholeNumber('--steps', 100), 3000)
    .option('--backend <name>', 'auto, tfjs-node or wasm', 'auto')
    .option('--json', 'end with the result as one JSON object')
    .action(async ({ json, ...flags }: { steps: number; backend: string; json?: true }) => {
      const { trainerSoak, trainerSoakReport } = await import('./trainer-soak.ts');
      const result = await trainerSoak({ ...flags, say, signal: interruption(interrupted) });
      process.stdout.write(`${json ? JSON.stringify(result) : trainerSoakReport(result)}\n`);
      if (!Object.values(result.flat).every(Boolean)) process.exitCode = 1;
    });

  addLoader('stream', 'through the embedded log and through Kafka into a consumer that only checks', {
    images: 40_000, // 6 GB a passage
    rounds: 3,
  }).action(async (flags: LoaderFlags) => {
    const { benchStream } = await import('./stream.ts');
    const { streamReport } = await import('./loader-report.ts');
    const result = await benchStream(loaderOptions(flags));
    finish(flags, result, streamReport(result));
  });

  bench
    .command('kafka')
    .description('our way to Kafka and back, beside Kafka’s own tools in Java and librdkafka, on one broker')
    .option('--records <n>', 'of 1 MB, produced a round; twice as many are consumed', wholeNumber('--records', 40), 500)
    .option('--rounds <n>', 'times each contender runs; medians count', wholeNumber('--rounds', 1), 7)
    .option('--json', 'end with the result as one JSON object')
    .action(async ({ json, ...flags }: { records: number; rounds: number; json?: true }) => {
      const { benchKafka } = await import('./kafka.ts');
      const { kafkaReport } = await import('./kafka-report.ts');
      const result = await benchKafka({ ...flags, say, signal: interruption(interrupted) });
      process.stdout.write(`${json ? JSON.stringify(result) : kafkaReport(result)}\n`);
    });

  bench
    .command('recipe')
    .description('what each method of a recipe is worth on the photos, over several seeds; the same in PyTorch')
    .option('--seeds <n>', 'of stream and weights: 0 … n − 1', wholeNumber('--seeds', 1), 5)
    .option('--recipe <name>', 'a name of stream/recipes, or a file', 'quickstart')
    .option('--backend <name>', 'auto, tfjs-node or wasm', 'auto')
    .option('--parallel <n>', 'trainers at once', wholeNumber('--parallel', 1), availableParallelism())
    .option('--pytorch', 'the recipe beside PyTorch on the same records; ends with 1 where they differ', false)
    .option('--python <path>', 'an interpreter with torch, numpy and safetensors; default one in the cache, 5 GB')
    .option('--out <dir>', 'keeps each result', 'runs/bench-recipe')
    .option('--resume', 'go on with the results that --out holds', false)
    .option('--json', 'end with the result as one JSON object')
    .action(async ({ json, python, ...flags }: RecipeFlags) => {
      const { benchRecipe } = await import('./recipe.ts');
      const { recipeReport } = await import('./recipe-report.ts');
      const result = await benchRecipe({ ...flags, python: python ?? null, say, signal: interruption(interrupted) });
      process.stdout.write(`${json ? JSON.stringify(result) : recipeReport(result)}\n`);
      if (result.parity?.pass === false) process.exitCode = 1;
    });

  addLoader('loaders', 'our pool beside torchvision, webdataset, DALI and FFCV on the same JPEGs')
    .option(...CHART)
    .action(async (flags: LoaderFlags & { readonly chart?: string }) => {
      const { benchLoaders } = await import('./loaders.ts');
      const { loaderChart, loaderReport } = await import('./loader-report.ts');
      const result = await benchLoaders(loaderOptions(flags));
      if (flags.chart !== undefined) await writeFile(flags.chart, loaderChart(result));
      finish(flags, result, loaderReport(result));
    });

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
