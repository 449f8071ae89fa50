// The command `preprocess verify`.

import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { Fault, WorkerPool, wholeNumber } from '#shards';
import { duration, linePrinter } from '../progress.ts';
import { DAMAGES_KEPT, damageLine } from './damage.ts';
import type { ShardReport, ShardTask } from './shard.ts';
import { type VerifyProgress, type VerifyReport, verifyDataset } from './verify.ts';

interface VerifyFlags {
  readonly deep: boolean;
  readonly workers: number;
  readonly json: boolean;
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description(
      'check every byte of a packed dataset; exit code 1, and each file, key and offset, where it is damaged',
    )
    .argument('<dir>', 'the packed dataset')
    .option('--deep', 'decode every JPEG, too', false)
    .option('--workers <n>', 'shards checked at once', wholeNumber('--workers', 1), availableParallelism())
    .option('--json', 'print the result as one JSON object', false)
    .action(verify);
}

async function verify(dir: string, { deep, workers, json }: VerifyFlags): Promise<void> {
  const started = performance.now();
  const file = new URL('./shard.worker.js', import.meta.url);
  const pool = await WorkerPool.open<ShardTask, ShardReport>(file, workers);
  const print = linePrinter(process.stderr, () => performance.now());
  let report: VerifyReport;
  try {
    report = await verifyDataset(dir, {
      deep,
      checkShard: (task) => pool.run(task),
      parallel: 4 * workers,
      onProgress: (progress) =>
        print((seconds) => progressLine(progress, seconds), { last: progress.shards === progress.allShards }),
      onDamage: (damage) => process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[K' : ''}${damageLine(damage)}\n`),
    });
  } finally {
    await pool.close();
  }
  tell(dir, report, { json, deep, seconds: (performance.now() - started) / 1000 });
}

function tell(
  dir: string,
  { files, samples, bytes, damages, damageCount }: VerifyReport,
  { json, deep, seconds }: { readonly json: boolean; readonly deep: boolean; readonly seconds: number },
): void {
  if (damageCount > DAMAGES_KEPT)
    process.stderr.write(`note: ${damageCount - DAMAGES_KEPT} more damages were counted and not told\n`);
  const ok = damageCount === 0;
  const fault = ok ? null : damagedFault(dir, damageCount);
  if (json) {
    const result = {
      ok,
      files,
      samples,
      bytes,
      seconds: Math.round(seconds * 1000) / 1000,
      deep,
      damageCount,
      damages,
    };
    process.stdout.write(`${JSON.stringify(fault ? { ...result, error: fault.toJSON() } : result)}\n`);
    if (!fault) return;
    // Thrown, it would take the last line, which the result has.
    process.stderr.write(`error ${fault.message}\n`);
    process.exitCode = fault.exit;
  } else if (fault) throw fault;
  else {
    const how = deep ? 'every byte checked, every JPEG decoded' : 'every byte checked';
    const rate = `${(bytes / 1e9).toFixed(3)} GB in ${seconds.toFixed(1)} s, ${(bytes / 1e9 / seconds).toFixed(2)} GB/s`;
    process.stdout.write(`${dir} is whole: ${files} files, ${samples} samples, ${rate}; ${how}\n`);
  }
}

export function progressLine({ shards, allShards, bytes, damages }: VerifyProgress, seconds: number): string {
  const eta = shards > 0 ? duration(((allShards - shards) * seconds) / shards) : '–';
  const rate = seconds > 0 ? (bytes / 1e6 / seconds).toFixed(0) : '–';
  return `${shards}/${allShards} shards, ${(bytes / 1e9).toFixed(2)} GB, ${rate} MB/s, ETA ${eta}, ${damages} damages`;
}

function damagedFault(dir: string, count: number): Fault {
  return new Fault({
    code: 'damaged',
    received: `${dir} with ${count} ${count === 1 ? 'damage' : 'damages'}`,
    expected: 'every file as it was packed',
    remedy:
      'restore the named files from a copy; or pack the same photos with the same options into another folder, ' +
      'which gives the same bytes where the versions in the fingerprint are the same, and copy the named files from there',
  });
}
