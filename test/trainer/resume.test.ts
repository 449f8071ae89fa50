// What --resume takes up and what it refuses: another plan, recipe or numerics by the first key, a damaged checkpoint by its file.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import { Fault } from '#shards';
import { parseRecipe, type Recipe } from '#stream';
import { latestCheckpoint, readCheckpoint, writeCheckpoint } from '#trainer';
import { openTransport } from '../../stream/transport/index.ts';
import { type ConsumeOptions, consume } from '../../trainer/consume.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { produceSmall, type SmallProduce } from '../stream/producing.ts';

const RECIPE = {
  name: 'resumed',
  lanes: 2,
  phases: [{ resolution: 32, epochs: 1, batch: 8 }],
  model: { layers: [1, 1, 1, 1], width: 4, blurpool: 2 },
  optimizer: { lr: 0.05, weightDecay: 0 },
  checkpointSteps: 4,
};
const recipeWith = (changes: object): Recipe => parseRecipe({ ...RECIPE, ...changes }, 'a test');

suite('resume', { timeout: 240_000 }, () => {
  let shards: string;
  let url: string;
  /** A training to the end, 10 steps: checkpoints at 4, 8 and 10. */
  let trained: string;

  before(async () => {
    shards = await packPhotos('32:40');
    url = `log:${join(temporaryFolder(), 'log')}`;
    await produceInto({});
    trained = join(temporaryFolder(), 'out');
    await consume(options({ out: trained }));
  });

  async function produceInto(more: Partial<SmallProduce>): Promise<void> {
    const transport = await openTransport(url);
    try {
      await produceSmall({ transport, run: 'resumed', shards, recipe: recipeWith({}), ...more });
    } finally {
      await transport.close();
    }
  }

  const options = (more: Partial<ConsumeOptions> & { readonly out: string }): ConsumeOptions => ({
    ...{ transport: url, run: 'resumed', backend: 'wasm', settings: [], resume: true, allowOtherNumerics: false },
    ...{ waitMs: 0, prefetchBytes: 2 ** 24, signal: new AbortController().signal, onLine: () => {} },
    ...more,
  });

  /** A copy of what the training left. */
  async function copied(): Promise<string> {
    const out = join(temporaryFolder(), 'out');
    await cp(trained, out, { recursive: true });
    return out;
  }

  const newestOf = async (out: string) => (await latestCheckpoint(out)) ?? assert.fail(`no checkpoint in ${out}`);

  async function weightsOf(out: string): Promise<string> {
    const bytes = await readFile(join(await newestOf(out), 'weights.safetensors'));
    return createHash('sha256').update(bytes).digest('hex');
  }

  const refused = (more: Partial<ConsumeOptions> & { readonly out: string }, code: string, received: string) =>
    assert.rejects(
      consume(options(more)),
      (error) => error instanceof Fault && error.code === code && error.received.startsWith(received),
      `${code}: ${received}`,
    );

  test('another recipe is refused by the first key that differs: a --set, other groups', async () => {
    const out = await copied();
    for (const [setting, received] of [
      ['optimizer.lr=0.1', 'recipe.optimizer.lr = 0.1'],
      ['labelSmoothing=0.1', 'recipe.labelSmoothing = 0.1'],
      ['sam={rho: 0.05}', 'recipe.sam = {'],
      ['model.width=8', 'recipe.model.width = 8'],
      ['groups=2', 'recipe.groups = 2'],
    ] as const)
      await refused({ out, settings: [setting] }, 'checkpoint-of-another-run', received);
    await refused({ out, settings: ['seed=1'] }, 'set-changes-stream', '--set seed=1, which makes seed 1');
    // When a checkpoint is written changes nothing of it.
    await consume(options({ out, settings: ['checkpointSteps=5'] }));
  });

  test('another plan is refused by the first key that differs: a seed, a dataset', async () => {
    const out = await copied();
    await produceInto({ run: 'seeded', recipe: recipeWith({ seed: 1 }) });
    await refused({ out, run: 'seeded' }, 'checkpoint-of-another-run', 'plan.seed = 1');
    // The same photos packed in another way are another dataset.
    await produceInto({ run: 'repacked', shards: await packPhotos('32:44') });
    await refused({ out, run: 'repacked' }, 'checkpoint-of-another-run', 'plan.dataset.sha256 = "');
  });

  test('other numerics are refused by the first key that differs, unless they are allowed, aloud', async () => {
    const out = await copied();
    const folder = await newestOf(out);
    const checkpoint = await readCheckpoint(folder);
    for (const [key, value] of [
      ['threads', 64],
      ['engine', '1.0'],
      ['isa', 'none'],
    ] as const) {
      const numerics = { ...checkpoint.numerics, [key]: value };
      await writeCheckpoint(out, { ...checkpoint, numerics });
      const ours = checkpoint.numerics[key];
      await refused({ out }, 'other-numerics', `numerics.${key} = ${JSON.stringify(ours)}`);
    }
    const lines: string[] = [];
    await consume(options({ out, allowOtherNumerics: true, onLine: (line) => lines.push(line) }));
    assert.ok(lines.includes('resuming under other numerics: numerics.isa was "none"'), lines.join('\n'));
  });

  test('another backend is refused', requirement('tfjs-node'), async () => {
    await refused({ out: await copied(), backend: 'tfjs-node' }, 'other-numerics', 'numerics.backend = "tfjs-node"');
  });

  /** Flips a bit of the newest checkpoint's weights. */
  async function damage(out: string): Promise<string> {
    const folder = await newestOf(out);
    const path = join(folder, 'weights.safetensors');
    const bytes = await readFile(path);
    bytes[bytes.length - 5] = (bytes.at(-5) as number) ^ 4;
    await writeFile(path, bytes);
    return folder;
  }

  test('a damaged newest checkpoint is refused by its file; without it the run goes on to the same bits', async () => {
    const out = await copied();
    const folder = await damage(out);
    await refused({ out }, 'checkpoint-damaged', join(folder, 'weights.safetensors'));
    await rm(folder, { recursive: true });
    const lines: string[] = [];
    await consume(options({ out, onLine: (line) => lines.push(line) }));
    assert.ok(
      lines.some((line) => /; step 8 of 10$/.test(line)),
      lines.join('\n'),
    );
    assert.equal(await weightsOf(out), await weightsOf(trained));
    const best = await readFile(join(out, 'best.json'), 'utf8');
    assert.equal(best, await readFile(join(trained, 'best.json'), 'utf8'));
  });

  test('where the log no longer holds the steps since the checkpoint before, it names what makes them again', async () => {
    const out = await copied();
    await rm(await damage(out), { recursive: true });
    const transport = await openTransport(url);
    const topic = 'resumed.train.32';
    const ends = await transport.ends(topic);
    for (const [lane, { end }] of ends.entries()) await transport.deleteBefore(topic, lane, end);
    await transport.close();
    await assert.rejects(
      consume(options({ out })),
      (error) =>
        error instanceof Fault &&
        error.code === 'step-expired' &&
        error.remedy === `regenerate it: stream produce --run resumed --transport ${url} --from-step 8 --shards DIR`,
    );
    await produceInto({ fromStep: 8 });
    await consume(options({ out }));
    assert.equal(await weightsOf(out), await weightsOf(trained));
  });

  test('a checkpoint without checksums is taken up, aloud', async () => {
    const out = await copied();
    const folder = await newestOf(out);
    await rm(join(folder, 'SHA256SUMS'));
    const lines: string[] = [];
    await consume(options({ out, onLine: (line) => lines.push(line) }));
    assert.ok(
      lines.some((line) => line.startsWith(`${folder} has no SHA256SUMS`)),
      lines.join('\n'),
    );
  });
});
