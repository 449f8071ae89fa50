// How every command ends: 0 done, 1 failed, 2 wrong usage; one line a failure; with --json one object on the last line.

import type { Command } from 'commander';
import { Fault } from './errors.ts';

/** Runs a commander program and sets the process's exit code. Subcommands' actions throw `Fault` for what users may see. */
export async function runProgram(program: Command, argv: readonly string[] = process.argv): Promise<void> {
  for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)])
    command.exitOverride().showHelpAfterError('(--help lists the options)');
  try {
    await program.parseAsync(argv);
  } catch (error) {
    process.exitCode = exitCodeOf(error, argv.includes('--json'));
  }
}

/** Tells of a failure and gives its exit code. What is no `Fault` keeps its stack, because it is ours to mend. */
function exitCodeOf(error: unknown, json: boolean): number {
  if (error instanceof Fault) {
    process.stderr.write(`error ${error.message.replaceAll('\n', ' ')}\n`);
    if (json) process.stdout.write(`${JSON.stringify({ error: error.toJSON() })}\n`);
    return error.exit;
  }
  // Commander has printed its own message by now; its class is not imported, to keep this door light.
  const { name, exitCode, message } = error as { name?: string; exitCode?: number; message?: string };
  if (name === 'CommanderError') {
    if (exitCode === 0) return 0;
    if (json) process.stdout.write(`${JSON.stringify({ error: { code: 'usage', received: message, exit: 2 } })}\n`);
    return 2;
  }
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  if (json) process.stdout.write(`${JSON.stringify({ error: { code: 'defect', received: message, exit: 1 } })}\n`);
  return 1;
}

/** Aborted by the first SIGINT or SIGTERM, with `reason` of it if given; a second signal ends the process as usual. */
export function interruption(reason?: (signal: NodeJS.Signals) => Fault): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort(reason?.(signal)));
  return controller.signal;
}

/** A parser of whole numbers for commander's options, as in `.option('--workers <n>', '…', wholeNumber('--workers', 1))`. */
export function wholeNumber(option: string, least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least || text.trim() === '')
      throw new Fault({
        code: 'usage',
        received: `${option} ${text}`,
        expected: `a whole number, at least ${least}`,
        remedy: `correct ${option}`,
        exit: 2,
      });
    return value;
  };
}
