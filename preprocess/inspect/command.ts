// The command `preprocess inspect`.

import { Command, Option } from 'commander';
import { readManifest, SPLITS, type Split, wholeNumber, writeImage } from '#shards';
import { inspectDataset, resolutionsOf } from './inspect.ts';
import { drawSamples } from './picture.ts';
import { describeInspection } from './text.ts';

interface InspectFlags {
  readonly image?: string;
  readonly split: Split;
  readonly resolution?: number;
  readonly json: boolean;
}

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('say what a packed dataset holds; --image draws some of it')
    .argument('<dir>', 'the packed dataset')
    .option('--image <png>', 'write a contact sheet of 64 samples with their classes')
    .addOption(new Option('--split <name>', 'of the contact sheet').choices([...SPLITS]).default('train'))
    .option('--resolution <r>', "of the contact sheet's bucket (default: the smallest)", wholeNumber('--resolution', 1))
    .option('--json', 'print the result as one JSON object', false)
    .action(inspect);
}

async function inspect(dir: string, { image, split, resolution, json }: InspectFlags): Promise<void> {
  const manifest = await readManifest(dir);
  const inspection = await inspectDataset(dir, manifest);
  let drawn: { readonly image: string; readonly tiles: number } | undefined;
  if (image !== undefined) {
    const of = resolution ?? resolutionsOf(manifest)[0] ?? 0;
    const { picture, tiles } = await drawSamples(dir, manifest, { split, resolution: of });
    await writeImage(image, picture);
    drawn = { image, tiles };
  }
  if (json) process.stdout.write(`${JSON.stringify({ ...inspection, ...drawn })}\n`);
  else {
    const lines = describeInspection(inspection);
    if (drawn) lines.push('', `${drawn.tiles} samples of ${split} are drawn in ${drawn.image}`);
    process.stdout.write(`${lines.join('\n')}\n`);
  }
}
