// SIGKILL producer and trainer in the middle, start the same commands again: the loss curve is the same to the bit.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { latestCheckpoint } from '../../trainer/checkpoint.ts';
import type { JournalEntry } from '../../trainer/journal.ts';
import { run, start, until } from '../commands.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';

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
labelSmoothing: 0.1
checkpointSteps: 3
`;
/** 4 epochs of 10 steps. */
const STEPS = 40;
/** Six steps at 32 px: the producer is never far ahead, so that a kill meets it in the middle of its work. */
const WINDOW = 6 * 8 * 32 * 32 * 3;

async function journalOf(out: string): Promise<JournalEntry[]> {
  const text = await readFile(join(out, 'journal.jsonl'), 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as JournalEntry);
}

/** The journal without the one figure that is a time. */
const curveOf = async (out: string) => (await journalOf(out)).map(({ waitMs: _, ...entry }) => entry);

async function weightsOf(out: string): Promise<string> {
  const folder = await latestCheckpoint(out);
  assert.ok(folder);
  return createHash('sha256')
    .update(await readFile(join(folder, 'weights.safetensors')))
    .update(await readFile(join(folder, 'optimizer.safetensors')))
    .digest('hex');
}

async function commandsOf(backend: string) {
  const dir = temporaryFolder();
  const shards = await packPhotos('32:40,40:48');
  const recipe = join(dir, 'kill.yaml');
  await writeFile(recipe, RECIPE);
  const target = ['--run', 'kill', '--transport', `log:${join(dir, 'log')}`];
  const out = join(dir, 'out');
  return {
    out,
    produce: [
      'produce',
      ...target,
      '--shards',
      shards,
      '--recipe',
      recipe,
      '--window',
      String(WINDOW),
      '--workers',
      '1',
    ],
    consume: ['consume', ...target, '--out', out, '--backend', backend, '--resume'],
  };
}

function provesResume(backend: 'tfjs-node' | 'wasm') {
  return async () => {
    const whole = await commandsOf(backend);
    const [produced, consumed] = await Promise.all([run('stream', whole.produce), run('trainer', whole.consume)]);
    assert.equal(produced.code, 0, produced.stderr);
    assert.equal(consumed.code, 0, consumed.stderr);
    const expected = await curveOf(whole.out);
    assert.deepEqual(
      expected.map(({ step }) => step),
      Array.from({ length: STEPS }, (_, step) => step),
    );

    const { out, produce, consume } = await commandsOf(backend);
    let producer = start('stream', produce);
    let trainer = start('trainer', consume);
    const reached = (step: number) => async () => (await journalOf(out)).length > step;
    await until(trainer, reached(7));
    producer.child.kill('SIGKILL');
    assert.equal((await producer.ended).signal, 'SIGKILL');
    producer = start('stream', produce);
    await until(trainer, reached(22));
    trainer.child.kill('SIGKILL');
    assert.equal((await trainer.ended).signal, 'SIGKILL');
    trainer = start('trainer', consume);
    const ends = await Promise.all([producer.ended, trainer.ended]);
    for (const { code, stderr } of ends) assert.equal(code, 0, stderr);

    assert.deepEqual(await curveOf(out), expected);
    assert.equal(await weightsOf(out), await weightsOf(whole.out));
  };
}

describe('killed and started again', () => {
  it(
    'the loss curve and the weights are the same to the bit (tfjs-node)',
    requirement('tfjs-node'),
    provesResume('tfjs-node'),
  );
  it('the loss curve and the weights are the same to the bit (wasm)', provesResume('wasm'));
});
