#!/usr/bin/env node
// `npm run faults [-- --short] [-- --json] [FILTER …]`: every fault test, and a table of its rows; one file after the
// other, in the short form two at once.
//
// A row is a file's top-level `describe`. It passes when all of its tests do and it was not skipped. Exit 1 when any fails;
// with CI=true a missing broker is a failure, too (see test/requirements.ts).

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { Fault, runProgram } from '#shards';

export interface FaultRow {
  readonly fault: string;
  readonly pass: boolean;
  readonly seconds: number;
  /** In `test/faults/FILE.fault.ts`. */
  readonly file: string;
  /** Its tests that ran. */
  readonly tests: number;
  /** What did not run, with the reason. */
  readonly skipped: readonly string[];
}

const BUILT = fileURLToPath(new URL('.', import.meta.url));
const SOURCES = fileURLToPath(new URL('../../../test/faults/', import.meta.url));
const ENDING = '.fault.js';
/** What a continuous integration run may not skip; see test/requirements.ts. */
const REQUIRED = 'kafka,tfjs-node';
/** A file that takes longer hangs. */
const PATIENCE_MS = { short: 4 * 60_000, long: 60 * 60_000 };

/** Names of the fault files whose source still exists. */
function faultFiles(): string[] {
  const sourceOf = (name: string) => join(SOURCES, `${name}.fault.ts`);
  return readdirSync(BUILT)
    .filter((file) => file.endsWith(ENDING))
    .map((file) => file.slice(0, -ENDING.length))
    .filter((name) => existsSync(sourceOf(name)))
    .sort();
}

/** Runs one file; `say` gets what its tests say, as it comes. */
async function runFile(name: string, timeout: number, say: (text: string) => void): Promise<FaultRow[]> {
  const rows: FaultRow[] = [];
  let tests = 0;
  let failed = false;
  let skipped: string[] = [];
  const events = run({ files: [join(BUILT, `${name}${ENDING}`)], concurrency: false, timeout });
  const end = (fault: string, pass: boolean, ms: number) => {
    // A file that could not be loaded, or hung, is told of by its path.
    const title = fault.endsWith(ENDING) ? `${name} (the whole file)` : fault;
    rows.push({ fault: title, pass: pass && !failed && tests > 0, seconds: ms / 1000, file: name, tests, skipped });
    [tests, failed, skipped] = [0, false, []];
  };
  const note = (pass: boolean) => (data: Ended) => {
    const { name: title, nesting, skip, details } = data;
    if (skip !== undefined && skip !== false) skipped.push(`${title}: ${skip}`);
    else if (details.type !== 'suite') tests++;
    failed ||= !pass;
    if (nesting === 0) end(title, pass, details.duration_ms);
  };
  events.on('test:pass', note(true)).on('test:fail', note(false));
  for await (const text of events.compose(new spec())) say(String(text));
  return rows;
}

/** All files, `atOnce` at a time; with more than one, what a file says comes when it has ended. */
async function runFiles(names: readonly string[], timeout: number, atOnce: number): Promise<FaultRow[]> {
  const rows = new Map<string, FaultRow[]>();
  const left = [...names];
  const runSome = async () => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      const said: string[] = [];
      const say = (text: string) => (atOnce > 1 ? said.push(text) : process.stderr.write(text));
      rows.set(name, await runFile(name, timeout, say));
      process.stderr.write(said.join(''));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, runSome));
  return names.flatMap((name) => rows.get(name) ?? []);
}

/** The part of node:test's events that is used. */
interface Ended {
  readonly name: string;
  readonly nesting: number;
  readonly skip?: string | boolean;
  readonly details: { readonly duration_ms: number; readonly type?: string };
}

function table(rows: readonly FaultRow[]): string {
  const width = Math.max(...rows.map(({ fault }) => fault.length), 5);
  const lines = rows.map(({ fault, pass, seconds, tests, skipped }) => {
    const state = pass ? 'pass' : tests === 0 && skipped.length > 0 ? 'SKIP' : 'FAIL';
    const left = skipped.map((text) => `; skipped ${text}`).join('');
    return `${fault.padEnd(width)}  ${state}  ${seconds.toFixed(1).padStart(7)} s  ${tests} tests${left}`;
  });
  return lines.join('\n');
}

async function faults(filters: readonly string[], flags: { short?: true; json?: true }): Promise<void> {
  if (flags.short) process.env['MEDIUM_RECIPE_FAULTS'] = 'short';
  if (process.env['CI'] === 'true') process.env['MEDIUM_RECIPE_REQUIRE'] ??= REQUIRED;
  const all = faultFiles();
  const chosen = filters.length === 0 ? all : all.filter((name) => filters.some((filter) => name.includes(filter)));
  if (chosen.length === 0)
    throw new Fault({
      code: 'no-such-fault',
      received: filters.join(' '),
      expected: `a part of one of ${all.join(', ')}`,
      remedy: 'correct the filter, or leave it out',
      exit: 2,
    });
  // The short forms mostly wait, for brokers to start and sessions to end.
  const rows = await runFiles(chosen, PATIENCE_MS[flags.short ? 'short' : 'long'], flags.short ? 2 : 1);
  const wrong = rows.filter(({ pass, tests, skipped }) => !pass && (tests > 0 || skipped.length === 0));
  process.stdout.write(`${flags.json ? JSON.stringify({ rows }) : table(rows)}\n`);
  if (wrong.length > 0 || rows.length < chosen.length) process.exitCode = 1;
}

const program = new Command('faults')
  .description('kills, cuts and fills what a run depends on; the stream must stay the same to the bit')
  .argument('[filter...]', "parts of the files' names; all without one")
  .option('--short', 'the short form of each: 5 minutes for all on 2 cores')
  .option('--json', 'end with {rows: [{fault, pass, …}]} on the last line')
  .action(faults);

await runProgram(program);
