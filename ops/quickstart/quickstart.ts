// The whole way of the data on the photos that ship with the project: pack, stream, train, evaluate, show.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSplit, readManifest, type Split } from '#shards';
import { loadRecipe } from '#stream';
import type { ConsumeResult, EvaluateResult } from '#trainer';
import { downKafka, upKafka } from '../kafka/broker.ts';
import { runCommand, startCommand } from './commands.ts';
import { makeAnew } from './out.ts';
import { largestShare, type Summary, summarise, tableOf } from './summary.ts';

export interface QuickstartOptions {
  readonly transport: 'log' | 'kafka';
  readonly backend: string;
  readonly seed: number;
  /** Made anew; Fault `out-taken` where that would empty a folder of somebody's own. */
  readonly out: string;
  readonly onLine: (line: string) => void;
  /** Stops all that runs; its reason is then what the quickstart ends with. */
  readonly signal: AbortSignal;
}

export interface QuickstartResult {
  readonly summary: Summary;
  readonly table: string;
  /** A PNG of one augmented batch. */
  readonly picture: string;
}

const RUN = 'quickstart';
const PHOTOS = fileURLToPath(new URL('../../../test/fixtures/photos', import.meta.url));

export async function quickstart(options: QuickstartOptions): Promise<QuickstartResult> {
  const { out, signal } = options;
  await makeAnew(out);
  try {
    if (options.transport === 'kafka') return await withBroker(options);
    return await quickstartOn(`log:${join(out, 'log')}`, options);
  } catch (error) {
    // What the children say of their end would hide why.
    signal.throwIfAborted();
    throw error;
  }
}

async function withBroker(options: QuickstartOptions): Promise<QuickstartResult> {
  const dir = join(options.out, 'kafka');
  options.onLine('starting a Kafka broker');
  const { transport } = await upKafka({ dir });
  try {
    return await quickstartOn(transport, options);
  } finally {
    await downKafka({ dir });
  }
}

async function quickstartOn(transport: string, options: QuickstartOptions): Promise<QuickstartResult> {
  const { out, seed, backend, onLine, signal } = options;
  const start = performance.now();
  const shards = join(out, 'shards');
  const trained = join(out, 'trained');
  const picture = join(out, 'batch.png');
  const resolutions = (await loadRecipe(RUN)).phases.map(({ resolution }) => resolution);
  const resolution = resolutions.at(-1) ?? 0;
  const as = (who: string) => ({ signal, onLine: (line: string) => onLine(`${who.padEnd(10)} ${line}`) });

  const buckets = [...new Set(resolutions)].join(',');
  await runCommand(
    'preprocess',
    ['shard', '--source', PHOTOS, '--out', shards, '--buckets', buckets],
    as('preprocess'),
  );

  const run = ['--run', RUN, '--transport', transport];
  const settings = ['--shards', shards, '--recipe', RUN, '--set', `seed=${seed}`];
  const producer = startCommand('stream', ['produce', ...run, ...settings], as('stream'));
  const trainer = startCommand('trainer', ['consume', ...run, '--out', trained, '--backend', backend], as('trainer'));
  let consumed: ConsumeResult;
  try {
    const [, result] = await Promise.all([producer.result, trainer.result]);
    consumed = result as unknown as ConsumeResult;
  } catch (error) {
    producer.stop();
    trainer.stop();
    await Promise.allSettled([producer.result, trainer.result]);
    throw error;
  }

  const evaluateOn = async (split: Split) => {
    const args = ['evaluate', '--checkpoint', trained, '--shards', shards, '--resolution', String(resolution)];
    const result = await runCommand('trainer', [...args, '--split', split, '--backend', backend], as('trainer'));
    return result as unknown as EvaluateResult;
  };
  const [train, val] = [await evaluateOn('train'), await evaluateOn('val')];
  await runCommand('stream', ['inspect', ...run, '--step', '0', '--image', picture], as('stream'));

  const manifest = await readManifest(shards);
  const chanceOf = async (split: Split) => {
    const index = await openSplit(shards, manifest, split, resolution);
    return largestShare(Array.from({ length: index.samples }, (_, sample) => index.locate(sample).label));
  };
  const chance = { train: await chanceOf('train'), val: await chanceOf('val') };
  const seconds = (performance.now() - start) / 1000;
  const summary = summarise({ transport, seconds, consumed, train, val, chance });
  await writeFile(join(out, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
  return { summary, table: tableOf(summary, consumed, manifest.dataset), picture };
}
