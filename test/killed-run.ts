// A small run of real processes that are killed on the way: its commands, and what must come out the same to the bit.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { JournalEntry } from '../trainer/journal.ts';
import { packPhotos, temporaryFolder } from './packed.ts';

const RECIPE = `
name: kill
lanes: 2
groups: 2
phases:
  - { resolution: 32, epochs: 2, batch: 8 }
  - { resolution: 40, epochs: 1, batch: 8 }
  - { resolution: 40, epochs: 1, batch: 8, fixres: { lr: 0.01, lrPerBatch: 8 } }
model: { layers: [1, 1, 1, 1], width: 4, blurpool: 2 }
optimizer: { lr: 0.05, lrPerBatch: 8, weightDecay: 5.0e-4, warmupEpochs: 0.5 }
sam: { rho: 0.05, interval: 2 }
ema: { halfLifeImages: 100 }
labelSmoothing: 0.1
checkpointSteps: 3
`;
/** 4 epochs of 10 steps: checkpoints at 3, 6, 9, and at each epoch's end. */
export const STEPS = 40;

/** The journal of a trainer's OUT; empty where there is none yet. */
export async function journalOf(out: string): Promise<JournalEntry[]> {
  const text = await readFile(join(out, 'journal.jsonl'), 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as JournalEntry);
}

/** The journal without the one figure that is a time. */
export const curveOf = async (out: string) => (await journalOf(out)).map(({ waitMs: _, ...entry }) => entry);

/** sha256 of every file that a trainer leaves in OUT, by path: all checkpoints that stayed, and which is best. */
export async function digestsOf(out: string): Promise<Record<string, string>> {
  const entries = await readdir(out, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const digests: Record<string, string> = {};
  for (const file of files.sort()) {
    const path = relative(out, file);
    // Waits are times, and a trainer's name is drawn.
    if (path === 'journal.jsonl' || path === 'trainer-id') continue;
    digests[path] = createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
  }
  const last = `checkpoint-${String(STEPS).padStart(8, '0')}`;
  assert.ok(digests[join(last, 'weights.safetensors')], Object.keys(digests).join());
  return digests;
}

export interface KilledRun {
  /** Arguments of `stream` that produce the run into a log of its own. */
  readonly produce: readonly string[];
  /** Arguments of `trainer` that train on it, or go on, in OUT. */
  readonly consume: (backend: string, out: string) => readonly string[];
}

export async function killedRun(): Promise<KilledRun> {
  const dir = temporaryFolder();
  const shards = await packPhotos('32:40,40:48');
  const recipe = join(dir, 'kill.yaml');
  await writeFile(recipe, RECIPE);
  const target = ['--run', 'kill', '--transport', `log:${join(dir, 'log')}`];
  return {
    produce: ['produce', ...target, '--shards', shards, '--recipe', recipe, '--workers', '1'],
    consume: (backend, out) => ['consume', ...target, '--out', out, '--backend', backend, '--resume'],
  };
}
