// The moving average of weights and statistics: its decay, its steps, what FixRes does with it, and what it leaves alone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRecipe } from '#stream';
import { type Backend, createState, disposeState, stepOptions, type TrainState, trainStep } from '#trainer';
import { emaDecay, evaluated, moveAverage, restartAverage } from '../../../trainer/methods/ema/ema.ts';
import { anyBackend } from '../backends.ts';
import { noiseBatch, PLAIN, smallModel, valuesOf, WITH_SAM } from '../training.ts';

const hostOf = ({ weights, statistics }: Pick<TrainState, 'weights' | 'statistics'>) => ({
  ...valuesOf(weights),
  ...valuesOf(statistics),
});

async function withAverage(body: (backend: Backend, state: TrainState) => void): Promise<void> {
  const backend = await anyBackend();
  const before = backend.tf.memory().numTensors;
  const state = createState(backend, smallModel(), 11, { average: true });
  body(backend, state);
  disposeState(backend, state);
  assert.equal(backend.tf.memory().numTensors, before);
}

const averageOf = ({ average }: TrainState) => average ?? assert.fail('the state has no average');

test('after the half-life a share is a half, whatever the batch', () => {
  for (const batch of [1, 8, 64, 512, 640]) {
    const decay = emaDecay({ halfLifeImages: 640 }, batch);
    assert.ok(Math.abs(decay ** (640 / batch) - 0.5) < 1e-12, `batch ${batch}: ${decay}`);
  }
  // Two phases of other batches see as many images: the same share.
  const ema = { halfLifeImages: 1000 };
  assert.ok(Math.abs(emaDecay(ema, 512) * emaDecay(ema, 320) - emaDecay(ema, 832)) < 1e-15);
});

test('a step takes its decay from the phase’s batch', () => {
  const recipe = parseRecipe(
    {
      name: 'r',
      lanes: 1,
      phases: [
        { resolution: 32, epochs: 1, batch: 16 },
        { resolution: 32, epochs: 1, batch: 8, fixres: {} },
      ],
      optimizer: { lr: 0.1, weightDecay: 0 },
      ema: { halfLifeImages: 16 },
    },
    'a test',
  );
  assert.equal(stepOptions(recipe, 0, 0.1).emaDecay, 0.5);
  assert.equal(stepOptions(recipe, 1, 0.1).emaDecay, Math.SQRT1_2);
  assert.equal(stepOptions({ ...recipe, ema: false }, 0, 0.1).emaDecay, undefined);
});

test('it starts as a copy, and follows weights and statistics as the recurrence in float64 does', async () => {
  await withAverage((backend, state) => {
    const decay = 0.8;
    const expected = Object.fromEntries(Object.entries(hostOf(state)).map(([name, v]) => [name, Float64Array.from(v)]));
    assert.deepEqual(hostOf(averageOf(state)), hostOf(state));
    for (let step = 0; step < 4; step++) {
      trainStep(backend, smallModel(), state, [noiseBatch(step)], { ...WITH_SAM, emaDecay: decay });
      const live = hostOf(state);
      for (const [name, values] of Object.entries(expected))
        values.forEach((value, i) => {
          values[i] = decay * value + (1 - decay) * (live[name]?.[i] as number);
        });
      for (const [name, values] of Object.entries(hostOf(averageOf(state))))
        values.forEach((value, i) => {
          const theirs = expected[name]?.[i] as number;
          assert.ok(
            Math.abs(value - theirs) <= 1e-6 * Math.max(1, Math.abs(theirs)),
            `${name}[${i}]: ${value}, not ${theirs}`,
          );
        });
    }
    const name = 'bn1.running_mean';
    assert.notDeepEqual(valuesOf(averageOf(state).statistics)[name], valuesOf(state.statistics)[name]);
  });
});

test('it changes nothing of the training: the same bits with it and without', async () => {
  const backend = await anyBackend();
  const model = smallModel();
  const results = [true, false].map((average) => {
    const state = createState(backend, model, 11, { average });
    const options = average ? { ...WITH_SAM, emaDecay: 0.9 } : WITH_SAM;
    const losses = [0, 1, 2].map((step) => trainStep(backend, model, state, [noiseBatch(step)], options).loss);
    const values = { losses, ...hostOf(state), slots: valuesOf(state.slots) };
    disposeState(backend, state);
    return values;
  });
  assert.deepEqual(results[0], results[1]);
});

test('a value that does not move stays the same to the bit', async () => {
  const { tf } = await anyBackend();
  const before = tf.memory().numTensors;
  const values = Float32Array.from({ length: 999 }, (_, i) => Math.sin(i) * 10 ** ((i % 60) - 30));
  const of = () => ({ weights: { w: tf.tensor1d(values) }, statistics: {} });
  const [average, live] = [of(), of()];
  for (let step = 0; step < 20; step++) moveAverage({ tf }, average, live, 0.99);
  assert.deepEqual(valuesOf(average.weights)['w'], values);
  tf.dispose([average.weights, live.weights]);
  assert.equal(tf.memory().numTensors, before);
});

test('FixRes starts it again from the live weights; what it freezes then is the same in both', async () => {
  await withAverage((backend, state) => {
    const model = smallModel();
    for (let step = 0; step < 3; step++)
      trainStep(backend, model, state, [noiseBatch(step)], { ...PLAIN, emaDecay: 0.9 });
    assert.notDeepEqual(hostOf(averageOf(state)), hostOf(state));
    restartAverage(backend, averageOf(state), state);
    assert.deepEqual(hostOf(averageOf(state)), hostOf(state));
    for (let step = 3; step < 6; step++)
      trainStep(backend, model, state, [noiseBatch(step)], { ...PLAIN, fixres: true, emaDecay: 0.9 });
    const [average, live] = [hostOf(averageOf(state)), hostOf(state)];
    const moved = Object.keys(live).filter((name) => !live[name]?.every((value, i) => value === average[name]?.[i]));
    const last = 'layer4.0.bn3';
    assert.deepEqual(
      moved.sort(),
      ['fc.bias', 'fc.weight', `${last}.bias`, `${last}.weight`, `${last}.running_mean`, `${last}.running_var`].sort(),
    );
  });
});

test('evaluation takes the average where there is one, and says so', async () => {
  await withAverage((_, state) => {
    assert.deepEqual(evaluated(state), { values: state.average, weights: 'average' });
    const without = { ...state, average: null };
    assert.deepEqual(evaluated(without), { values: without, weights: 'trained' });
  });
});

test('an average without a decay, or a decay without one, is a defect that is told', async () => {
  await withAverage((backend, state) => {
    assert.throws(() => trainStep(backend, smallModel(), state, [noiseBatch(0)], PLAIN), /go together/);
    const without = { ...state, average: null };
    assert.throws(
      () => trainStep(backend, smallModel(), without, [noiseBatch(0)], { ...PLAIN, emaDecay: 0.5 }),
      /go together/,
    );
  });
});

test('twelve steps with an average hold no more tensors than one', async () => {
  await withAverage((backend, state) => {
    const model = smallModel();
    const options = { ...WITH_SAM, emaDecay: 0.9, clip: { norm: 0.5 } };
    const one = () => trainStep(backend, model, state, [noiseBatch(0), noiseBatch(0, 1)], options);
    one();
    const after = backend.tf.memory().numTensors;
    for (let step = 1; step < 12; step++) one();
    restartAverage(backend, averageOf(state), state);
    assert.equal(backend.tf.memory().numTensors, after);
  });
});
