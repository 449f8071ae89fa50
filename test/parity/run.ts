// npm run parity: one case on one backend; ends with {"pass", "worst", "loss", …} as the last line.

import { Command } from 'commander';
import { runProgram } from '#shards';
import { loadBackend } from '#trainer';
import { readCase, unknownKeys } from './case-file.ts';
import { type Figure, strain, verdict } from './compare.ts';
import { figures, trainerOn } from './figures.ts';

const say = (line: string) => process.stderr.write(`${line}\n`);

/** `evalLogits[3]` → `evalLogits`. */
const kind = ({ what }: Figure) => what.split(/[ [{]/, 1)[0] as string;

/** One line for each kind of figure: the worst of them. */
function summary(found: readonly Figure[]): string[] {
  const kinds = new Set(found.map(kind));
  return [...kinds].map((name) => {
    const these = found.filter((figure) => kind(figure) === name);
    const { what, relative, tolerance } = these.reduce((a, b) =>
      strain(b) > strain(a) || (strain(a) === strain(b) && b.relative > a.relative) ? b : a,
    );
    const bound = tolerance === null ? 'the file gives no tolerance' : `tolerance ${tolerance.toPrecision(3)}`;
    return `${name.padEnd(16)} ${String(these.length).padStart(6)} figures; worst ${relative.toExponential(2)}, ${bound} (${what})`;
  });
}

async function parity(path: string, flags: { backend: string; json: boolean }): Promise<void> {
  const file = await readCase(path);
  for (const key of unknownKeys(file)) say(`not compared, as it is no figure that we know: '${key}'`);
  const backend = await loadBackend(flags.backend);
  say(`${path} on ${backend.name}${backend.note === null ? '' : `: ${backend.note}`}`);
  const found: Figure[] = [];
  for await (const figure of figures(trainerOn(backend), file)) {
    found.push(figure);
    if (figure.what.startsWith('loss[')) say(`${figure.what} ${figure.ours} (PyTorch ${figure.theirs})`);
  }
  for (const line of summary(found)) say(line);
  const result = { ...verdict(found), backend: backend.name, notCompared: unknownKeys(file) };
  process.stdout.write(`${JSON.stringify(flags.json ? { ...result, figures: found } : result)}\n`);
  if (!result.pass) process.exitCode = 1;
}

const program = new Command('parity')
  .description("holds what we compute against a case file's float64 figures of PyTorch, within its tolerances")
  .argument('<case>', 'a case file, as in test/parity/cases')
  .option('--backend <name>', 'auto, tfjs-node or wasm', 'auto')
  .option('--json', "end with every figure beside PyTorch's in that object, too", false)
  .action(parity);

await runProgram(program);
