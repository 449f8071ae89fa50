#!/usr/bin/env node
// `npm run soak [-- --minutes M --seed S]`: a stream under random faults, and whether a byte of it or its memory changed.

import { Command } from 'commander';
import { Fault, interruption, runProgram, wholeNumber } from '#shards';
import { FLAT } from './memory.ts';
import { LANES, type SoakResult, soak } from './soak.ts';

interface Flags {
  readonly minutes: number;
  readonly seed?: number;
  readonly producers: number;
  readonly readers: number;
  readonly rate: number;
  readonly json?: true;
}

function report({
  minutes,
  steps,
  compared,
  wrong,
  faults,
  proxy,
  memory,
  flat,
  failures,
  ...rest
}: SoakResult): string {
  const counts = (object: object) =>
    Object.entries(object)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ');
  const judged = flat === null ? 'too short to judge' : flat ? 'flat' : 'NOT FLAT';
  return [
    `${minutes.toFixed(1)} minutes: ${steps} steps, each once and in order; ${compared} lane-steps compared, ${wrong} wrong`,
    `longest time without a step: ${rest.longestGapSeconds.toFixed(1)} s`,
    `faults: ${counts(faults)}; ${rest.gaveUp} processes began while the broker was away, gave up and were started again`,
    `proxy: ${counts(proxy)}`,
    `resident memory, medians of the second and the last quarter (${judged}; allowed + ${100 * FLAT.share} % + ${FLAT.mb} MB):`,
    ...memory.map(
      ({ role, secondQuarterMb, lastQuarterMb, flat: one }) =>
        `  ${role.padEnd(16)} ${secondQuarterMb.toFixed(1).padStart(7)} MB  ${lastQuarterMb.toFixed(1).padStart(7)} MB${one === null ? '  (started again, not judged)' : ''}`,
    ),
    ...failures.map((failure) => `FAILED: ${failure}`),
    rest.pass ? 'pass' : 'FAIL',
  ].join('\n');
}

const program = new Command('soak')
  .description('producers, readers and a broker under random faults; every step is compared with what it must be')
  .option('--minutes <m>', 'how long', wholeNumber('--minutes', 1), 30)
  .option('--seed <s>', 'of the faults (default: the time)', wholeNumber('--seed', 0))
  .option('--producers <n>', 'processes', wholeNumber('--producers', 1), 3)
  .option('--readers <n>', `processes; divides ${LANES}`, wholeNumber('--readers', 1), 2)
  .option('--rate <n>', 'steps a second that a reader takes at most', wholeNumber('--rate', 1), 8)
  .option('--json', 'end with the result as one JSON object')
  .action(async (flags: Flags) => {
    const { minutes, producers, readers, rate, seed = Date.now() % 2 ** 31 } = flags;
    if (LANES % readers !== 0)
      throw new Fault({
        code: 'usage',
        received: `--readers ${readers}`,
        expected: `a divisor of ${LANES}`,
        remedy: 'correct --readers',
        exit: 2,
      });
    const say = (line: string) => process.stderr.write(`${line}\n`);
    const again = `npm run soak -- --minutes ${minutes} --seed ${seed} --producers ${producers} --readers ${readers} --rate ${rate}`;
    say(`again: ${again}`);
    const result = await soak({ minutes, seed, producers, readers, rate, say, signal: interruption() });
    process.stdout.write(`${flags.json ? JSON.stringify(result) : report(result)}\n`);
    if (!result.pass) process.exitCode = 1;
  });

await runProgram(program);
