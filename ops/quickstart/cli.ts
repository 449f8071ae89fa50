// `ops quickstart`, which `npm run quickstart` calls.

import { Command, Option } from 'commander';
import { Fault, interruption, wholeNumber } from '#shards';

const interrupted = (signal: string) =>
  new Fault({
    code: 'interrupted',
    received: signal,
    expected: "the quickstart's end",
    remedy: 'start it again: it begins anew',
  });

/** The quickstart's options; the work itself is loaded when it is asked for. */
export function quickstartCommand(): Command {
  return new Command('quickstart')
    .description('pack the photos that ship with the project, stream them, train on them, show the result')
    .addOption(
      new Option('--transport <which>', 'the embedded log, or a Kafka broker of its own')
        .choices(['log', 'kafka'])
        .default('log'),
    )
    .option('--backend <name>', 'auto, tfjs-node or wasm', 'auto')
    .option('--seed <n>', "the stream's and the weights' seed", wholeNumber('--seed', 0), 0)
    .option('--out <dir>', 'folder to make, or to empty where an earlier quickstart made it', 'runs/quickstart')
    .option('--json', 'print summary.json as one object on the last line')
    .action(async ({ json, ...options }) => {
      const { quickstart } = await import('./quickstart.ts');
      const onLine = (line: string) => process.stderr.write(`${line}\n`);
      const { summary, table, picture } = await quickstart({ ...options, onLine, signal: interruption(interrupted) });
      process.stdout.write(
        json
          ? `${JSON.stringify(summary)}\n`
          : `\n${table}\n\none augmented batch: ${picture}\nsummary: ${options.out}/summary.json\n`,
      );
    });
}
