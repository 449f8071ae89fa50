// A run with an average, from the log to `trainer evaluate`: which weights are scored, and that it is said.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseRecipe } from '#stream';
import { openTransport } from '../../../stream/transport/index.ts';
import { consume } from '../../../trainer/consume.ts';
import { evaluateCheckpoint } from '../../../trainer/evaluate-checkpoint.ts';
import { packPhotos, temporaryFolder } from '../../packed.ts';
import { produceSmall } from '../../stream/producing.ts';

const RUN = 'average';
const recipe = parseRecipe(
  {
    name: 'average',
    lanes: 2,
    phases: [{ resolution: 32, epochs: 1, batch: 8 }],
    model: { layers: [1, 1, 1, 1], width: 4, blurpool: 2 },
    optimizer: { lr: 0.05, weightDecay: 0 },
  },
  'a test',
);

test('a run with ema evaluates the average, a run without the live weights; so does trainer evaluate', async () => {
  const shards = await packPhotos('32:40');
  const url = `log:${join(temporaryFolder(), 'log')}`;
  const transport = await openTransport(url);
  try {
    await produceSmall({ transport, run: RUN, shards, recipe });
    const trained = async (settings: string[]) => {
      const out = join(temporaryFolder(), 'out');
      const lines: string[] = [];
      const { evaluation, finalLoss } = await consume({
        transport: url,
        run: RUN,
        out,
        backend: 'wasm',
        settings,
        resume: false,
        allowOtherNumerics: false,
        waitMs: 0,
        prefetchBytes: 2 ** 24,
        signal: new AbortController().signal,
        onLine: (line) => lines.push(line),
      });
      const again = await evaluateCheckpoint({
        checkpoint: out,
        shards,
        split: 'val',
        resolution: undefined,
        backend: 'wasm',
      });
      const said = lines.filter((line) => line.startsWith('epoch 0: val top-1'));
      assert.deepEqual([said.length, said[0]?.endsWith(`, ${again.weights} weights`)], [1, true], said.join());
      assert.ok(evaluation);
      assert.deepEqual([evaluation.weights, evaluation.top1], [again.weights, again.top1]);
      assert.ok(Math.abs(evaluation.loss - again.loss) < 1e-5);
      return { finalLoss, ...evaluation };
    };
    const [live, average] = [await trained([]), await trained(['ema.halfLifeImages=40'])];
    assert.deepEqual([live.weights, average.weights], ['trained', 'average']);
    assert.equal(average.finalLoss, live.finalLoss, 'the training is the same');
    assert.notEqual(average.loss, live.loss);
  } finally {
    await transport.close();
  }
});
