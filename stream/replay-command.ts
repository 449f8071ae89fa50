// `stream replay`: a run's steps once more, out of the log or from the shards; their digest, a proof, files.

import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { Fault, interruption, wholeNumber } from '#shards';
import { awaitRun } from './meta.ts';
import { lanesOfRank } from './ranks.ts';
import { type Replay, type ReplayProgress, replay } from './replay.ts';
import type { Transport } from './transport/transport.ts';

/** What the commands of `stream` share. */
export interface CommandParts {
  readonly run: readonly [flags: string, description: string];
  readonly transport: readonly [flags: string, description: string];
  readonly json: readonly [flags: string, description: string];
  withTransport<Result>(url: string, create: boolean, use: (transport: Transport) => Promise<Result>): Promise<Result>;
  say(line: string): void;
  finish(result: object, json: boolean, lines: readonly string[]): void;
}

export function addReplay(program: Command, parts: CommandParts): void {
  program
    .command('replay')
    .description('the same steps once more, out of the log or from the shards: their digest, a proof, files')
    .requiredOption(...parts.run)
    .requiredOption(...parts.transport)
    .option('--from-step <a>', 'the first step; 0 unless given', wholeNumber('--from-step', 0))
    .option(
      '--to-step <b>',
      'the step before which it ends; unless given, what every lane has',
      wholeNumber('--to-step', 0),
    )
    .option('--verify', 'compare every lane-step with the ledger, and fail if any differs')
    .option('--shards <dir>', 'render the steps again from the shards, instead of reading the log')
    .option('--allow-other-fingerprint', 'with --shards: also with versions other than the run was made with')
    .option('--workers <n>', 'with --shards: pool workers', wholeNumber('--workers', 1))
    .option('--to <dir>', "write each record's bytes as a safetensors file into DIR, which must be empty")
    .option('--rank <r>', 'with --ranks: only lanes r·L/n … (r+1)·L/n − 1', wholeNumber('--rank', 0))
    .option('--ranks <n>', 'of how many readers this is one; divides the lanes', wholeNumber('--ranks', 1))
    .option(...parts.json)
    .action(async (options) => {
      checkTogether(options);
      const started = performance.now();
      const signal = interruption();
      const { run, fromStep, toStep, verify = false, to, json = false } = options;
      const replayed = await parts.withTransport(options.transport, false, async (transport) => {
        const meta = await awaitRun(transport, run, 0, parts.say);
        const lanes = lanesOfRank(meta.plan, options.rank ?? 0, options.ranks ?? 1);
        const shards =
          options.shards === undefined
            ? null
            : {
                dir: options.shards,
                workers: options.workers ?? availableParallelism(),
                allowOtherFingerprint: options.allowOtherFingerprint ?? false,
              };
        const onStep = teller(parts.say);
        return replay({ transport, run, meta, lanes, fromStep, toStep, shards, verify, to, signal, onStep });
      });
      const seconds = (performance.now() - started) / 1000;
      parts.finish({ run, source: options.shards ? 'shards' : 'log', ...replayed, seconds }, json, summary(replayed));
    });
}

interface Options {
  readonly shards?: string;
  readonly workers?: number;
  readonly allowOtherFingerprint?: boolean;
  readonly rank?: number;
  readonly ranks?: number;
}

function checkTogether({ shards, workers, allowOtherFingerprint, rank, ranks }: Options): void {
  const alone = (received: string, expected: string) =>
    new Fault({ code: 'usage', received: `${received} alone`, expected, remedy: `add ${expected}`, exit: 2 });
  if ((rank === undefined) !== (ranks === undefined))
    throw rank === undefined ? alone('--ranks', '--rank R') : alone('--rank', '--ranks N');
  if (shards !== undefined) return;
  if (allowOtherFingerprint) throw alone('--allow-other-fingerprint', '--shards DIR');
  if (workers !== undefined) throw alone('--workers', '--shards DIR');
}

/** Progress, at most once a second. */
function teller(say: (line: string) => void): (progress: ReplayProgress) => void {
  let told = performance.now();
  let before = 0;
  return ({ step, range, counters: { bytes, proved, differing } }) => {
    const now = performance.now();
    if (now - told < 1000) return;
    const rate = (bytes - before) / 1e3 / (now - told);
    say(
      `step ${step} of ${range.from} … ${range.to - 1}: ${rate.toFixed(0)} MB/s; ${proved} lane-steps proved, ${differing} differ`,
    );
    told = now;
    before = bytes;
  };
}

function summary(replayed: Replay): string[] {
  const { steps, fromStep, toStep, lanes, laneSteps, records, bytes, digest, counters, files } = replayed;
  const { proved, differing, differingByFingerprint, otherFingerprint } = replayed;
  return [
    `${steps} steps (${fromStep} … ${toStep - 1}), lanes ${lanes.join(' ')}: ${records} records, ${(bytes / 1e6).toFixed(1)} MB${files > 0 ? `, ${files} files` : ''}`,
    `digest ${digest}`,
    `${proved} of ${laneSteps} lane-steps have the ledger's digest; ${differing} differ, of these ${differingByFingerprint} with another fingerprint, which ${otherFingerprint} have`,
    Object.entries(counters)
      .map(([what, count]) => `${what} ${count}`)
      .join(', '),
  ];
}
